//! What is kept, and how a round, the clock and a replay add to it.
//!
//! Invariant: all that can fail comes before the first change.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use calbridge_booking::link_back;
use calbridge_proto::v1::{self, SubmitOutcome, TransitionSource};
use tokio::sync::watch;
use uuid::Uuid;

use super::consume::KeptConsumer;
use crate::store::{
    Batch, BookingKey, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Committed, ConsumerKey, DeliveryKey,
    DuplicateNote, FirstResult, Micros, Position, Replay, Replayed, StoreError, Watermarks,
    changes::{Changes, DeliveryRow, MentionRow},
    clock::SKEW,
    fold::{self, FoldedBooking, LoadedRows, Occasion, Shows},
    mentioned,
    replay::{self, Kept as KeptDelivery},
    round::{self, Copies},
    time::{micros, timestamp},
    view::{self, LoadedRow},
};

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) head: Position,
    /// The same, for those who follow it.
    pub(super) followed: watch::Sender<Position>,
    pub(super) deliveries: BTreeMap<Position, Delivery>,
    pub(super) keys: BTreeMap<DeliveryKey, Position>,
    /// Copies that were noted.
    pub(super) copies: BTreeMap<Position, DuplicateNote>,
    pub(super) transitions: BTreeMap<Position, v1::Transition>,
    pub(super) tenants: BTreeMap<Arc<str>, Tenant>,
    pub(super) consumers: BTreeMap<ConsumerKey, KeptConsumer>,
}

/// What belongs to one tenant, by the uids of its bookings.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    pub(super) rows: BTreeMap<String, Row>,
    pub(super) timelines: BTreeMap<String, BTreeMap<Position, Line>>,
    /// Through where what was received is purged.
    pub(super) gone: Watermarks,
}

/// A booking.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) loaded: LoadedRow,
    /// The end that the clock waits for, or has passed.
    pub(super) clock_end: Option<Micros>,
    /// The booking that it replaced, and the `LinkEvidence` of that.
    pub(super) before: Option<(String, i32)>,
    /// As it is read, but for what only a reader of other rows can know. Unset where hints are all that is known.
    pub(super) shown: Option<v1::Booking>,
    /// No delivery that is kept before this one spoke of it.
    pub(super) first: Position,
}

/// A delivery.
#[derive(Debug)]
pub(super) struct Delivery {
    /// As it is read, without its body.
    pub(super) shown: v1::Delivery,
    pub(super) key: DeliveryKey,
    pub(super) id: Uuid,
    pub(super) body: Bytes,
    pub(super) booking_uid: Option<String>,
    pub(super) mentioned: Option<Vec<u8>>,
    pub(super) siblings_silent: bool,
}

/// A line of a timeline.
#[derive(Debug)]
pub(super) struct Line {
    /// Where the delivery is kept that is spoken of; of the clock there is none.
    pub(super) delivery: Position,
    pub(super) outcome: SubmitOutcome,
    pub(super) source: TransitionSource,
}

impl Kept {
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Vec<Committed>, StoreError> {
        let sorted = round::sort_out(batch, |key| Ok(self.first_result(key)))?;
        let rows = self.load(sorted.touched());
        let copies = self.copies(&sorted.repeated())?;
        let plan = sorted.plan(self.head, &rows, copies)?;
        let rows = self.rows_after(plan.changes.bookings(), plan.changes.folded.first)?;

        for row in plan.changes.deliveries() {
            self.keys.insert(row.delivery.key.clone(), row.position);
            self.deliveries.insert(row.position, Delivery::new(&row));
        }
        for (position, count) in &plan.counts {
            if let Some(delivery) = self.deliveries.get_mut(position) {
                delivery.shown.duplicate_count = *count;
            }
        }
        self.copies.extend(plan.notes.iter().map(|note| (note.position, note.copy.clone())));
        self.write(&plan.changes, rows, plan.mentions());
        self.moves_to(plan.head);
        Ok(plan.answers())
    }

    pub(super) fn hear_clock(&mut self, round: &ClockRound) -> Result<Vec<v1::Transition>, StoreError> {
        let rows = self.load(round.keys.iter().cloned());
        let occasion = Occasion {
            head: self.head,
            now: round.now,
            clock: &round.clock,
            source: TransitionSource::Clock,
            trace_id: &round.trace_id,
        };
        let changes = Changes::of_clock(fold::hear_clock(&rows, &occasion)?, round.now);
        let rows = self.rows_after(changes.bookings(), changes.folded.first)?;

        self.write(&changes, rows, changes.mentions());
        self.moves_to(changes.folded.head);
        Ok(changes.folded.clock.into_iter().map(|told| told.transition).collect())
    }

    pub(super) fn replay(&mut self, replay: &Replay) -> Result<Option<Replayed>, StoreError> {
        let delivery = &replay.delivery;
        let found = self.find(&delivery.key.tenant, delivery.delivery_id);
        let Some(kept) = found.map(|(position, delivery)| delivery.kept(position)) else { return Ok(None) };
        let kept_at = kept.position;
        let rows = self.load(fold::touched([delivery]));
        let plan = replay::plan(replay, kept, self.head, &rows)?;
        let changes = plan.changes.as_ref();
        let rows = changes.map(|changes| self.rows_after(changes.bookings(), kept_at)).transpose()?;

        if let Some(kept) = plan.kept {
            self.retype(kept);
        }
        if let (Some(changes), Some(rows)) = (changes, rows) {
            self.write(changes, rows, changes.mentions());
            self.moves_to(changes.folded.head);
        }
        Ok(Some(plan.replayed))
    }

    pub(super) fn first_result(&self, key: &DeliveryKey) -> Option<FirstResult> {
        let position = *self.keys.get(key)?;
        let delivery = self.deliveries.get(&position)?;
        let (booking_uid, copies) = (delivery.booking_uid.clone(), delivery.shown.duplicate_count);
        Some(FirstResult { delivery_id: delivery.id, position, booking_uid, copies })
    }

    /// The clock says of an end that it has passed, and the log that it did not, or the other way round.
    pub(super) fn clock_due(&self, now: Micros, clock: &ClockPolicies, aside: &HashSet<BookingKey>) -> Vec<BookingKey> {
        let rows =
            self.tenants.iter().flat_map(|(tenant, of)| of.rows.iter().map(move |(uid, row)| (tenant, uid, row)));
        let is_due = |(tenant, _, row): &(&Arc<str>, &String, &Row)| {
            let told = row.loaded.clock_told;
            // What was told is taken back only by a clock that went back by more than clocks differ.
            let end = row.clock_end.map(|end| if told { end.saturating_sub(SKEW) } else { end });
            end.is_some_and(|end| clock.horizon(tenant, now).passed(end) != told)
        };
        let keys = rows.filter(is_due).map(|(tenant, uid, _)| (Arc::clone(tenant), uid.clone()));
        keys.filter(|key| !aside.contains(key)).take(CLOCK_BOOKINGS_MAX).collect()
    }

    /// A tenant's delivery, and where it is kept.
    pub(super) fn find(&self, tenant: &str, id: Uuid) -> Option<(Position, &Delivery)> {
        let (position, delivery) =
            self.deliveries.iter().find(|(_, delivery)| delivery.id == id && delivery.shown.tenant == tenant)?;
        Some((*position, delivery))
    }

    pub(super) fn find_row(&self, (tenant, uid): &BookingKey) -> Option<&Row> {
        self.tenants.get(tenant)?.rows.get(uid)
    }

    fn load(&self, keys: impl IntoIterator<Item = BookingKey>) -> LoadedRows {
        let keys = keys.into_iter();
        keys.filter_map(|key| self.find_row(&key).map(|row| row.loaded.clone()).map(|row| (key, row))).collect()
    }

    /// What is known of the copies of these deliveries.
    fn copies(&self, firsts: &[Position]) -> Result<HashMap<Position, Copies>, StoreError> {
        let kept = firsts.iter().filter_map(|first| Some((*first, self.deliveries.get(first)?)));
        let copies = kept.map(|(first, delivery)| {
            let uids = mentioned::decode(delivery.booking_uid.clone(), delivery.mentioned.clone())?;
            Ok((first, Copies { count: delivery.shown.duplicate_count, uids }))
        });
        copies.collect()
    }

    /// The rows as they are after a fold of what was kept from `first` on.
    fn rows_after(&self, folded: &[FoldedBooking], first: Position) -> Result<Vec<(BookingKey, Row)>, StoreError> {
        let row = |folded: &FoldedBooking| {
            let stored = self.find_row(&folded.key);
            Ok((folded.key.clone(), Row::after(folded, stored, first)?))
        };
        folded.iter().map(row).collect()
    }

    fn write<'r>(
        &mut self,
        changes: &Changes<'_>,
        rows: Vec<(BookingKey, Row)>,
        mentions: impl Iterator<Item = MentionRow<'r>>,
    ) {
        self.transitions.extend(changes.transitions().map(|row| (row.position, row.made.whole())));
        for ((tenant, uid), row) in rows {
            self.tenants.entry(tenant).or_default().rows.insert(uid, row);
        }
        for MentionRow { tenant, uid, position, delivery, outcome, source } in mentions {
            let timelines = &mut self.tenants.entry(tenant.into()).or_default().timelines;
            timelines.entry(uid.to_owned()).or_default().insert(position, Line { delivery, outcome, source });
        }
    }

    fn moves_to(&mut self, head: Position) {
        self.head = head;
        self.followed.send_replace(head);
    }

    /// What a kept delivery is by now.
    fn retype(&mut self, kept: KeptDelivery) {
        let Some(delivery) = self.deliveries.get_mut(&kept.position) else { return };
        delivery.shown.trigger = kept.trigger;
        delivery.shown.trigger_name = kept.trigger_name;
        delivery.shown.event_time = kept.event_time.map(timestamp);
        delivery.shown.outcome = kept.outcome;
        delivery.shown.booking_uid = kept.booking_uid.clone().unwrap_or_default();
        delivery.booking_uid = kept.booking_uid;
        delivery.mentioned = kept.mentioned;
        delivery.siblings_silent = kept.siblings_silent;
    }
}

impl Row {
    /// As a fold leaves it; `stored` is what it was before.
    fn after(folded: &FoldedBooking, stored: Option<&Self>, first: Position) -> Result<Self, StoreError> {
        let (tenant, uid) = &folded.key;
        let loaded = LoadedRow { state: folded.state.clone(), clock_told: folded.clock_told };
        let before = link_back(&view::decode(&folded.state)?).map(|(uid, evidence)| (uid.to_owned(), evidence.into()));
        let learned = match &folded.shows {
            Shows::Otherwise(columns) => Some((columns.position, columns.update_time)),
            Shows::AsBefore => stored.and_then(|stored| stored.shown.as_ref()).and_then(learned),
            Shows::Nothing(_) => None,
        };
        let show = |(position, update_time)| view::booking(tenant, uid, &loaded, position, update_time);
        let shown = learned.map(show).transpose()?;
        let first = stored.map_or(first, |stored| stored.first.min(first));
        Ok(Self { loaded, clock_end: folded.clock_end, before, shown, first })
    }
}

/// At which position and when we last learned something of a booking.
fn learned(booking: &v1::Booking) -> Option<(Position, Micros)> {
    Some((Position::from_token(&booking.position)?, micros(booking.update_time.as_ref()?)))
}

impl Delivery {
    fn new(row: &DeliveryRow<'_>) -> Self {
        let (delivery, event) = (row.delivery, &row.delivery.event);
        let shown = v1::Delivery {
            tenant: delivery.key.tenant.to_string(),
            delivery_id: delivery.delivery_id.to_string(),
            trigger: event.trigger,
            trigger_name: event.trigger_name.clone(),
            receive_time: Some(timestamp(row.receive_time())),
            event_time: row.event_time().map(timestamp),
            disposition: row.disposition().into(),
            outcome: row.outcome.into(),
            secret_id: event.secret_id.clone(),
            body_sha256: delivery.body_sha256.to_vec(),
            body_size: row.body_size(),
            booking_uid: delivery.booking_uid.clone().unwrap_or_default(),
            trace_id: delivery.trace_id.clone(),
            raw_body: Vec::new(),
            duplicate_count: 0,
            position: row.position.to_token(),
            webhook_version: event.webhook_version.clone(),
            content_type: event.content_type.clone(),
            raw_body_purged: false,
        };
        Self {
            shown,
            key: delivery.key.clone(),
            id: delivery.delivery_id,
            body: event.raw_body.clone(),
            booking_uid: delivery.booking_uid.clone(),
            mentioned: row.mentioned.clone(),
            siblings_silent: delivery.leaves_siblings_silent,
        }
    }

    /// For a replay of it.
    fn kept(&self, position: Position) -> KeptDelivery {
        KeptDelivery {
            position,
            trigger: self.shown.trigger,
            trigger_name: self.shown.trigger_name.clone(),
            event_time: self.shown.event_time.as_ref().map(micros),
            outcome: self.shown.outcome,
            booking_uid: self.booking_uid.clone(),
            mentioned: self.mentioned.clone(),
            siblings_silent: self.siblings_silent,
        }
    }
}
