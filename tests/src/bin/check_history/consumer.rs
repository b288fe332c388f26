//! A consumer hands each entry that it means to one client at a time, until one of them is done with it; and in the end
//! each is settled in exactly one way.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Report, booking,
    entry::{Entry, Position},
    flight,
    history::{Fact, History},
    log::Log,
    plan::Consumer,
    tale::{Delivery, Passage, Said, Tale},
};

/// How an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Acked,
    Skipped,
    /// Given up on, and the dead letter was deleted.
    Deleted,
    /// Given up on, and the dead letter is kept.
    Dead,
}

/// One consumer before its judge.
struct Case<'h> {
    consumer: &'h Consumer,
    tale: &'h Tale,
    meant: &'h BTreeMap<Position, &'h Entry>,
    dead: BTreeSet<Position>,
}

pub(crate) fn judge(consumer: &Consumer, history: &History, log: &Log, report: &mut Report) {
    let tale = Tale::of(consumer, history, report);
    let meant = log.meant(&consumer.scope, report);
    let mut dead = BTreeSet::new();
    for fact in &history.truth {
        match fact {
            Fact::Letter { tenant, consumer: name, position } if is_of(consumer, tenant, name) => {
                dead.insert(*position);
            }
            Fact::Unsettled { tenant, consumer: name, position } if is_of(consumer, tenant, name) => {
                report.violation(format!("consumer {name}: the store still holds {position} for it, not settled"));
            }
            _ => {}
        }
    }
    let case = Case { consumer, tale: &tale, meant: &meant, dead };
    case.is_what_it_means(report);
    for passage in tale.entries.values() {
        case.is_out_once_at_a_time(passage, report);
        case.is_counted(passage, report);
        case.is_given_up_for_a_reason(passage, report);
    }
    let ends = case.ends(report);
    case.agrees_with_its_own_view(report);
    booking::judge(consumer, &tale, &meant, report);
    let repeats = flight::judge(consumer, &tale, report);
    case.say(&ends, &repeats, report);
}

fn is_of(consumer: &Consumer, tenant: &str, name: &str) -> bool {
    consumer.scope.tenant == tenant && consumer.name == name
}

impl Case<'_> {
    fn violation(&self, report: &mut Report, what: &str) {
        report.violation(format!("consumer {}: {what}", self.consumer.name));
    }

    /// Nothing else was handed out, and it was told as the store has it.
    fn is_what_it_means(&self, report: &mut Report) {
        for (position, passage) in &self.tale.entries {
            let Some(truth) = self.meant.get(position) else {
                self.violation(report, &format!("{position} was handed out or given up on, and is nothing of its own"));
                continue;
            };
            let other = passage.deliveries.iter().find(|delivery| delivery.item.entry != **truth);
            if let Some(Delivery { item, .. }) = other {
                self.violation(report, &format!("was handed {}, and the store has {truth}", item.entry));
            }
        }
    }

    /// An entry goes out again only when the delivery before is over: its lease has ended, its client gave it back, or
    /// went away. One that was settled does not go out again, unless its client went away before that was heard.
    fn is_out_once_at_a_time(&self, passage: &Passage, report: &mut Report) {
        for pair in passage.deliveries.windows(2) {
            let [first, next] = pair else { continue };
            let session = &self.tale.sessions[first.session];
            let entry = &first.item.entry;
            let is_replayed = passage.replays_before(first.handed) != passage.replays_before(next.handed);
            if let Some((_, said @ (Said::Ack | Said::Skip))) = first.settled()
                && session.is_orderly
            {
                let what = format!("{said:?} of {entry} by {} was heard, and it came again", session.client);
                self.violation(report, &what);
            } else if !is_replayed && first.settled().is_some() && session.is_orderly {
                self.violation(report, &format!("{entry} was parked by {}, and came again", session.client));
            }
            let given_back = matches!(first.said, Some((at, Said::Retry)) if at <= next.seen);
            let is_over = first.item.expires <= next.seen || session.ended <= next.seen || given_back || is_replayed;
            if !is_over {
                let other = &self.tale.sessions[next.session];
                let until = first.item.expires - next.seen;
                let what = format!(
                    "{entry} was out to {}, for another {until} µs, and was handed to {}",
                    session.client, other.client
                );
                self.violation(report, &what);
            }
        }
    }

    /// Deliveries of an entry are numbered, from one on, and anew after a replay.
    fn is_counted(&self, passage: &Passage, report: &mut Report) {
        for round in 0..=passage.replays.len() {
            let counts: Vec<i32> = passage.round(round).map(|delivery| delivery.item.count).collect();
            let in_bounds = counts.iter().all(|count| (1..=self.consumer.max_deliveries).contains(count));
            if !in_bounds || !counts.is_sorted_by(|one, next| one < next) {
                let entry = passage.round(round).next().map(|delivery| delivery.item.entry.to_string());
                let what = format!("{} was handed out with the counts {counts:?}", entry.unwrap_or_default());
                self.violation(report, &what);
            }
        }
    }

    /// A dead letter was parked by a client, or has been out as often as an entry may.
    fn is_given_up_for_a_reason(&self, passage: &Passage, report: &mut Report) {
        for letter in passage.letters.values() {
            let mut round = passage.round(passage.replays_before(letter.created));
            let is_parked = round.any(|delivery| {
                let parked = matches!(delivery.said, Some((at, Said::Park)) if at <= letter.created);
                parked && delivery.item.count == letter.count
            });
            if !is_parked && letter.count != self.consumer.max_deliveries {
                let what = format!("{} is a dead letter after {} deliveries", letter.position, letter.count);
                self.violation(report, &format!("{what}, and nobody parked it"));
            }
        }
    }

    /// How each entry ended. It was out once at the least: also what was given up on unseen.
    fn ends(&self, report: &mut Report) -> BTreeMap<End, usize> {
        let mut counts = BTreeMap::new();
        for (position, entry) in self.meant {
            let Some(passage) = self.tale.entries.get(position) else {
                self.violation(report, &format!("{entry} was never handed out"));
                continue;
            };
            match self.end(passage, self.dead.contains(position)) {
                Ok(end) => *counts.entry(end).or_default() += 1,
                Err(why) => self.violation(report, &format!("{entry} {why}")),
            }
        }
        counts
    }

    fn end(&self, passage: &Passage, is_dead: bool) -> Result<End, String> {
        let last = passage.deliveries.last();
        let settled = last.and_then(|last| Some((last, last.settled()?.1)));
        let is_heard = |last: &Delivery| self.tale.sessions[last.session].is_orderly;
        match (is_dead, passage.deleted, settled) {
            (true, Some(_), _) => Err("is a dead letter that was deleted, and is still there".to_owned()),
            (true, None, Some((last, said @ (Said::Ack | Said::Skip)))) if is_heard(last) => {
                Err(format!("is a dead letter, though its {said:?} was heard"))
            }
            (true, None, _) => Ok(End::Dead),
            (false, Some((_, answered)), _) => match last {
                Some(last) if last.handed > answered => Err("came again after its dead letter was deleted".to_owned()),
                _ => Ok(End::Deleted),
            },
            (false, None, Some((_, Said::Ack))) => Ok(End::Acked),
            (false, None, Some((_, Said::Skip))) => Ok(End::Skipped),
            (false, None, _) => Err("is in limbo: nobody settled it, and it is no dead letter".to_owned()),
        }
    }

    fn agrees_with_its_own_view(&self, report: &mut Report) {
        let Some(view) = &self.tale.view else {
            self.violation(report, "nobody asked how it is doing in the end");
            return;
        };
        if view.in_flight + view.waiting > 0 {
            let (out, waiting) = (view.in_flight, view.waiting);
            self.violation(report, &format!("it says that {out} entries are out and {waiting} wait in the end"));
        }
        if view.dead_letters != self.dead.len() {
            let (told, kept) = (view.dead_letters, self.dead.len());
            self.violation(report, &format!("it says that it has {told} dead letters, the store has {kept}"));
        }
        if let Some((last, _)) = self.meant.last_key_value()
            && view.cursor < *last
        {
            self.violation(report, &format!("its cursor is at {}, its last entry at {last}", view.cursor));
        }
    }

    fn say(&self, ends: &BTreeMap<End, usize>, repeats: &flight::Repeats, report: &mut Report) {
        let Tale { entries, sessions, lives, .. } = self.tale;
        let deliveries: usize = entries.values().map(|passage| passage.deliveries.len()).sum();
        let count = |end| ends.get(&end).copied().unwrap_or(0);
        let replays: usize = entries.values().map(|passage| passage.replays.len()).sum();
        let all = || entries.values().flat_map(|passage| &passage.deliveries);
        report.checked(format!(
            "consumer {}: {} entries: {} acked, {} skipped, {} dead letters and {} deleted ones; {deliveries} \
             deliveries to {} streams of {lives} lives; {} given back, {} lost, {replays} replayed; {} streams broke, \
             with {} repeats, {} of one at the most; {} out at a time at the most",
            self.consumer.name,
            self.meant.len(),
            count(End::Acked),
            count(End::Skipped),
            count(End::Dead),
            count(End::Deleted),
            sessions.len(),
            all().filter(|delivery| matches!(delivery.said, Some((_, Said::Retry)))).count(),
            all().filter(|delivery| delivery.lost.is_some()).count(),
            sessions.iter().filter(|session| !session.is_orderly).count(),
            repeats.all,
            repeats.at_a_time,
            repeats.out_at_a_time,
        ));
    }
}
