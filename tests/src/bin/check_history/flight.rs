//! How much is out at a time, and how much comes again when a stream breaks: what was out on it, and no more.

use crate::{
    Report,
    entry::Micros,
    plan::Consumer,
    tale::{Delivery, Passage, Said, Session, Tale},
};

/// What a consumer's crashes cost.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// Entries that came again because their stream broke.
    pub(crate) all: usize,
    /// Of one stream, at the most.
    pub(crate) at_a_time: usize,
    /// Entries that were certainly out at the same moment, at the most.
    pub(crate) out_at_a_time: usize,
}

pub(crate) fn judge(consumer: &Consumer, tale: &Tale, report: &mut Report) -> Repeats {
    let mut repeats = vec![0; tale.sessions.len()];
    let mut of_sessions = vec![Vec::new(); tale.sessions.len()];
    let mut of_all = Vec::new();
    for passage in tale.entries.values() {
        for (number, delivery) in passage.deliveries.iter().enumerate() {
            let session = &tale.sessions[delivery.session];
            if is_repeated(passage, number, session) {
                repeats[delivery.session] += 1;
            }
            let out = (delivery.seen, certainly_out_until(delivery, session));
            if out.0 < out.1 {
                of_sessions[delivery.session].push(out);
                of_all.push(out);
            }
        }
    }
    for ((session, repeats), out) in tale.sessions.iter().zip(&repeats).zip(of_sessions) {
        let Session { client, most, .. } = session;
        if repeats > most {
            report.violation(format!(
                "consumer {}: a stream of {client} with {most} out at the most broke, and {repeats} entries came again",
                consumer.name
            ));
        }
        let out = at_once(out);
        if out > *most {
            report.violation(format!(
                "consumer {}: {out} entries were out to {client} at a time, which had room for {most}",
                consumer.name
            ));
        }
    }
    let (out, most) = (at_once(of_all), consumer.max_in_flight);
    if out > most {
        report.violation(format!("consumer {}: {out} entries were out at a time, of {most}", consumer.name));
    }
    let at_a_time = repeats.iter().max().copied().unwrap_or(0);
    Repeats { all: repeats.iter().sum(), at_a_time, out_at_a_time: out }
}

/// It came again though it had not been given back, and its lease went on when its client lived last.
fn is_repeated(passage: &Passage, number: usize, session: &Session) -> bool {
    let delivery = &passage.deliveries[number];
    let Some(next) = passage.deliveries.get(number + 1) else { return false };
    let is_replayed = passage.replays_before(delivery.handed) != passage.replays_before(next.handed);
    let is_given_back = matches!(delivery.said, Some((_, Said::Retry)));
    !is_replayed && !is_given_back && delivery.item.expires > session.ended
}

fn certainly_out_until(delivery: &Delivery, session: &Session) -> Micros {
    let said = delivery.said.map_or(Micros::MAX, |(at, _)| at);
    said.min(delivery.item.expires).min(session.ended)
}

/// How many of these overlap at the most.
fn at_once(out: Vec<(Micros, Micros)>) -> usize {
    let mut turns: Vec<(Micros, bool)> =
        out.into_iter().flat_map(|(from, until)| [(from, true), (until, false)]).collect();
    // What ends at a moment makes room for what begins at it.
    turns.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, begins) in turns {
        if begins {
            now += 1;
            most = most.max(now);
        } else {
            now -= 1;
        }
    }
    most
}
