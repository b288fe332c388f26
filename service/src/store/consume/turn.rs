//! One turn of a consumer: what its client says is heard, leases that have ended are taken back, the log is scanned as
//! far as there is room, and what may go out goes out.
//!
//! Invariant: of one booking nothing goes out while an earlier entry is not settled.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use super::{
    CONSUMER_ITEMS_MAX, CONSUMER_TURN_MAX, ConsumerItem, ConsumerState, DeliveryOf, ItemState, Outgoing, Said,
    TurnAnswer, TurnRequest,
};
use crate::store::{LOG_BYTES_MAX, LogEntry, LogPage, LogQuery, Micros, Position};

/// The longest reason of a dead letter, in bytes.
pub(crate) const REASON_BYTES: usize = 1024;
/// Pages of the log that one turn reads, at the most: one that finds little in a long log must not hold up whoever
/// waits for its transaction. The next turn goes on behind them.
const PAGES_MAX: usize = 4;
/// Bytes of what one turn hands out, as much as its pages hold, and one more entry. What else is ready waits for the
/// next turn.
const TURN_BYTES_MAX: usize = PAGES_MAX * LOG_BYTES_MAX;
/// Entries that the scan did not read are read so many at a time, at the most.
const UNREAD_MAX: usize = 32;
/// Why an entry is a dead letter that its clients did not speak of.
const NO_ANSWER: &str = "max_deliveries: the last lease ended without a word";
const CLIENT_GONE: &str = "max_deliveries: its client went away";

/// A turn under way.
pub(crate) struct Turn<'a> {
    state: &'a mut ConsumerState,
    request: &'a TurnRequest,
    /// When it began.
    now: Micros,
    /// Items that are not what they were before.
    changed: BTreeSet<Position>,
    settled: BTreeSet<Position>,
    parked: Vec<Parked>,
    lost: Vec<DeliveryOf>,
    /// What the scan has read.
    scanned: BTreeMap<Position, LogEntry>,
    pages: usize,
    at_end: bool,
}

/// An entry that becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) position: Position,
    pub(crate) uid: String,
    pub(crate) deliveries: u32,
    pub(crate) reason: String,
    pub(crate) time: Micros,
}

/// What a store writes. The consumer's own row is written as well.
#[derive(Debug, Default)]
pub(crate) struct TurnChanges {
    pub(crate) changed: BTreeSet<Position>,
    pub(crate) settled: BTreeSet<Position>,
    pub(crate) parked: Vec<Parked>,
    /// The log was read to a bound and not to its end: the next turn must go on there.
    pub(crate) is_cut: bool,
    /// As its request has it.
    pub(crate) keeps_scan: bool,
}

/// What may go out, oldest first, and what of it has been read.
pub(crate) struct Chosen {
    ready: Vec<Position>,
    /// With its size; `None` where an entry is kept no more.
    read: BTreeMap<Position, Option<(usize, LogEntry)>>,
}

impl Chosen {
    /// Of what fits into the turn, the next entries that are to be read; `None` when all are. As many as there is room
    /// for if none is larger than the largest so far: how large one is, is known when it is read.
    pub(crate) fn unread(&self) -> Option<Vec<Position>> {
        let sizes = self.fitting().filter_map(|position| Some(self.read.get(&position)?.as_ref()?.0));
        let (all, largest) = sizes.fold((0, 0), |(all, largest), bytes| (all + bytes, largest.max(bytes)));
        let most = match TURN_BYTES_MAX.saturating_sub(all).checked_div(largest) {
            Some(most) => most.clamp(1, UNREAD_MAX),
            // Those that were asked for are kept no more.
            None if !self.read.is_empty() => UNREAD_MAX,
            None => 1,
        };
        let unread = self.fitting().filter(|position| !self.read.contains_key(position));
        let next: Vec<Position> = unread.take(most).collect();
        (!next.is_empty()).then_some(next)
    }

    /// Takes what was found of those that [`Self::unread`] asked for.
    pub(crate) fn take(&mut self, asked: Vec<Position>, mut found: BTreeMap<Position, LogEntry>) {
        self.read.extend(asked.into_iter().map(|position| (position, found.remove(&position).map(sized))));
    }

    /// Those before which there is room, as far as it is known how large they are.
    fn fitting(&self) -> impl Iterator<Item = Position> {
        let mut bytes = 0;
        let fits = move |position: &Position| {
            let before = bytes;
            bytes += self.read.get(position).and_then(Option::as_ref).map_or(0, |(bytes, _)| *bytes);
            before < TURN_BYTES_MAX
        };
        self.ready.iter().copied().take_while(fits)
    }
}

impl<'a> Turn<'a> {
    /// Hears what is said and takes back what nobody answered in time.
    pub(crate) fn begin(state: &'a mut ConsumerState, request: &'a TurnRequest) -> Self {
        let mut turn = Self {
            state,
            request,
            now: request.begins(),
            changed: BTreeSet::new(),
            settled: BTreeSet::new(),
            parked: Vec::new(),
            lost: Vec::new(),
            scanned: BTreeMap::new(),
            pages: 0,
            at_end: false,
        };
        for (delivery, said) in &request.said {
            turn.hear(*delivery, said);
        }
        turn.take_back();
        turn
    }

    /// The part of the log that is to be scanned next, where there is room for it.
    pub(crate) fn wants(&self) -> Option<LogQuery> {
        let consumer = &self.state.consumer;
        let has_room =
            self.state.items.len() < CONSUMER_ITEMS_MAX && self.ready().take(self.room()).count() < self.room();
        (has_room && !self.at_end && self.pages < PAGES_MAX).then(|| LogQuery {
            tenant: consumer.key.0.clone(),
            after: consumer.scanned,
            filter: consumer.choices.filter.clone(),
            recorded: consumer.choices.recorded,
        })
    }

    /// Of what [`Self::wants`] asked for, the bookings that a dead letter may hold back.
    pub(crate) fn may_be_held(&self, page: &LogPage) -> Vec<String> {
        if !self.state.consumer.choices.blocks {
            return Vec::new();
        }
        let uids = page.entries.iter().map(|(_, entry)| entry.uid()).filter(|uid| !uid.is_empty());
        uids.collect::<HashSet<_>>().into_iter().map(str::to_owned).collect()
    }

    /// Takes in what [`Self::wants`] asked for, with those of [`Self::may_be_held`] that are.
    pub(crate) fn scan(&mut self, page: LogPage, held: impl IntoIterator<Item = String>) {
        self.at_end = !page.more;
        self.pages += 1;
        self.state.held.extend(held);
        self.state.consumer.scanned = page.through.max(self.state.consumer.scanned);
        for (position, entry) in page.entries {
            let item = ConsumerItem {
                uid: entry.uid().to_owned(),
                deliveries: 0,
                state: ItemState::Waiting { due: Micros::MIN },
            };
            self.state.items.insert(position, item);
            self.changed.insert(position);
            self.scanned.insert(position, entry);
        }
    }

    /// What may go out, with what the scan has read of it.
    pub(crate) fn choose(&mut self) -> Chosen {
        let ready: Vec<Position> = self.ready().take(self.room()).collect();
        let scanned = std::mem::take(&mut self.scanned).into_iter();
        Chosen { ready, read: scanned.map(|(position, entry)| (position, Some(sized(entry)))).collect() }
    }

    /// Leases what was chosen, as far as its bytes allow: what is answered, and what is written. What is kept no more
    /// was purged while it waited, and counts as dealt with: it would hold its booking up for ever.
    pub(crate) fn finish(mut self, mut chosen: Chosen) -> (TurnAnswer, TurnChanges) {
        let expires = self.after(self.state.consumer.choices.ack_wait);
        let fitting: Vec<Position> = chosen.fitting().collect();
        let mut out = Vec::with_capacity(fitting.len());
        for position in fitting {
            match chosen.read.remove(&position).flatten() {
                Some((_, entry)) => out.extend(self.lease(position, expires, entry)),
                None => self.settle(position),
            }
        }
        let (more, due) = (self.goes_on(), self.next_due());
        let ConsumerState { consumer, items, .. } = self.state;
        consumer.cursor = items.keys().next().map_or(consumer.scanned, |first| Position(first.0 - 1));
        // What was changed and then settled is gone.
        self.changed.retain(|position| items.contains_key(position));
        let is_cut = self.pages > 0 && !self.at_end;
        let (cursor, paused, parked) = (consumer.cursor, consumer.paused, self.parked.len());
        let keeps_scan = self.request.keeps_scan;
        let changes =
            TurnChanges { changed: self.changed, settled: self.settled, parked: self.parked, is_cut, keeps_scan };
        (TurnAnswer { out, lost: self.lost, due, more, cursor, paused, extended: expires, parked }, changes)
    }

    fn lease(&mut self, position: Position, expires: Micros, entry: LogEntry) -> Option<Outgoing> {
        let item = self.state.items.get_mut(&position)?;
        // Led by the time: a crash that takes back the last turns must not have a lease given out again.
        let lease = (self.state.consumer.lease + 1).max(self.now);
        self.state.consumer.lease = lease;
        item.deliveries += 1;
        item.state = ItemState::Out { lease, expires };
        self.changed.insert(position);
        Some(Outgoing { delivery: DeliveryOf { position, lease }, deliveries: item.deliveries, expires, entry })
    }

    fn hear(&mut self, delivery: DeliveryOf, said: &Said) {
        let item = self.state.items.get(&delivery.position);
        let is_out =
            item.is_some_and(|item| matches!(item.state, ItemState::Out { lease, .. } if lease == delivery.lease));
        if !is_out {
            // Nobody waits for an answer to these.
            if !matches!(said, Said::Release | Said::Return) {
                self.lost.push(delivery);
            }
            return;
        }
        let position = delivery.position;
        match said {
            Said::Ack | Said::Skip => self.settle(position),
            Said::Retry(pause, reason) => self.fail(position, pause.map_or(Pause::Ladder, Pause::Of), reason),
            Said::Park(reason) => self.park(position, reason),
            Said::Extend => {
                let expires = self.after(self.state.consumer.choices.ack_wait);
                self.becomes(position, ItemState::Out { lease: delivery.lease, expires });
            }
            Said::Release => {
                // To others at once, but not again and again: what ends each client must not use up all tries of what
                // was out beside it within seconds.
                let is_first = self.state.items.get(&position).is_some_and(|item| item.deliveries <= 1);
                let pause = if is_first { Pause::Of(Duration::ZERO) } else { Pause::Ladder };
                self.fail(position, pause, CLIENT_GONE);
            }
            Said::Return => {
                let now = self.now;
                if let Some(item) = self.state.items.get_mut(&position) {
                    item.deliveries = item.deliveries.saturating_sub(1);
                }
                self.becomes(position, ItemState::Waiting { due: now });
            }
        }
    }

    fn take_back(&mut self) {
        let now = self.now;
        let is_over = |item: &ConsumerItem| matches!(item.state, ItemState::Out { expires, .. } if expires <= now);
        let over: Vec<Position> =
            self.state.items.iter().filter(|(_, item)| is_over(item)).map(|(position, _)| *position).collect();
        for position in over {
            self.fail(position, Pause::Of(Duration::ZERO), NO_ANSWER);
        }
    }

    fn settle(&mut self, position: Position) {
        self.state.items.remove(&position);
        self.settled.insert(position);
    }

    fn fail(&mut self, position: Position, pause: Pause, reason: &str) {
        let Some(item) = self.state.items.get(&position) else { return };
        let choices = &self.state.consumer.choices;
        if item.deliveries >= choices.max_deliveries {
            self.park(position, reason);
            return;
        }
        let pause = match pause {
            Pause::Of(pause) => pause,
            Pause::Ladder => spread(rung(&choices.backoff, item.deliveries), position, item.deliveries),
        };
        let due = self.after(pause);
        self.becomes(position, ItemState::Waiting { due });
    }

    fn park(&mut self, position: Position, reason: &str) {
        let Some(item) = self.state.items.remove(&position) else { return };
        if self.state.consumer.choices.blocks {
            self.state.held.insert(item.uid.clone());
        }
        let reason = reason.chars().scan(0, |bytes, character| {
            *bytes += character.len_utf8();
            (*bytes <= REASON_BYTES).then_some(character)
        });
        let (reason, time) = (reason.collect(), self.now);
        self.parked.push(Parked { position, uid: item.uid, deliveries: item.deliveries, reason, time });
        self.settled.insert(position);
    }

    fn becomes(&mut self, position: Position, state: ItemState) {
        if let Some(item) = self.state.items.get_mut(&position) {
            item.state = state;
            self.changed.insert(position);
        }
    }

    /// What may go out now, oldest first.
    fn ready(&self) -> impl Iterator<Item = Position> {
        let now = self.now;
        let paused = self.state.consumer.paused;
        let is_ready = move |item: &ConsumerItem| matches!(item.state, ItemState::Waiting { due } if due <= now);
        self.first_of_each().filter(move |(_, item)| !paused && is_ready(item)).map(|(position, _)| position)
    }

    /// The oldest item of each booking that no dead letter holds back, and each that speaks of no booking.
    fn first_of_each(&self) -> impl Iterator<Item = (Position, &ConsumerItem)> {
        let mut met = HashSet::new();
        let items = self.state.items.iter().map(|(position, item)| (*position, item));
        items.filter(move |(_, item)| {
            item.uid.is_empty() || (met.insert(item.uid.as_str()) && !self.state.held.contains(&item.uid))
        })
    }

    fn room(&self) -> usize {
        self.room_of_all().min(self.request.room).min(CONSUMER_TURN_MAX)
    }

    /// How much more may be out to all clients together.
    fn room_of_all(&self) -> usize {
        let out = self.state.items.values().filter(|item| matches!(item.state, ItemState::Out { .. })).count();
        self.state.consumer.choices.max_in_flight.saturating_sub(out)
    }

    /// Another turn may find more, for a client with room.
    fn goes_on(&self) -> bool {
        let reads_on = !self.at_end && self.state.items.len() < CONSUMER_ITEMS_MAX;
        self.room_of_all() > 0 && (reads_on || self.ready().next().is_some())
    }

    /// When something that is out comes back, or something that waits may go out.
    fn next_due(&self) -> Option<Micros> {
        let waiting = self.first_of_each().filter_map(|(_, item)| match item.state {
            ItemState::Waiting { due } if due > self.now => Some(due),
            _ => None,
        });
        let out = self.state.items.values().filter_map(|item| match item.state {
            ItemState::Out { expires, .. } => Some(expires),
            ItemState::Waiting { .. } => None,
        });
        waiting.chain(out).min()
    }

    fn after(&self, pause: Duration) -> Micros {
        self.now.saturating_add(Micros::try_from(pause.as_micros()).unwrap_or(Micros::MAX))
    }
}

#[derive(Clone, Copy)]
enum Pause {
    Of(Duration),
    /// The consumer's own.
    Ladder,
}

fn sized(entry: LogEntry) -> (usize, LogEntry) {
    (entry.bytes(), entry)
}

/// The pause after so many deliveries.
fn rung(ladder: &[Duration], deliveries: u32) -> Duration {
    let step = usize::try_from(deliveries.saturating_sub(1)).unwrap_or(usize::MAX);
    ladder.get(step).or(ladder.last()).copied().unwrap_or_default()
}

/// Between half of a pause and all of it: entries that failed together don't come again together. Where in between is a
/// function of the delivery, so that a turn is one of what it is told.
fn spread(pause: Duration, position: Position, deliveries: u32) -> Duration {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = (position.0.cast_unsigned() ^ (u64::from(deliveries) << 48)).wrapping_mul(GOLDEN) >> 54;
    // A part of 1,024.
    let part = u32::try_from(mixed).unwrap_or(0);
    pause / 2 + pause / 2 * part / 1_024
}

#[cfg(test)]
mod tests;
