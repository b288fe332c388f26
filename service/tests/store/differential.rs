//! The strongest law: whatever a store is told, it answers as the model does. One random history goes to both at once,
//! with copies, replays, purges and the clock among its rounds; each answer, and all that a reader sees, is compared.
//!
//! A failure names the history, the step, the operation and the first line that differs. Another history than the one
//! of every run is told by its number:
//!
//!     CALBRIDGE_HISTORY=7 cargo nextest run --workspace -E 'test(whatever_it_is_told)'

mod told;

use std::{fmt::Debug, sync::Arc};

use calbridge_proto::v1::Delivery;
use calbridge_service::store::{
    Batch, BookingKey, BookingOrder, BookingQuery, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, DeliveryKey,
    DuplicateNote, FirstResult, LogPurge, NewDelivery, PackedBody, Position, Purge, Purgeable, Replay, Store,
    StoredRow,
    memory::{Memory, MemoryStore},
};
use prost_types::Timestamp;
use uuid::Uuid;

use self::told::{Tenants, UIDS, any_keepers, any_moment, any_now, any_period, any_query, any_webhook};
use crate::{chance::Chance, support::*};

/// The history that is told in every run.
const HISTORY: u64 = 1;
/// How long it is, and after how many steps it goes on with other tenants: bookings of which all has been told change
/// little.
const STEPS: usize = 480;
const STEPS_OF_TENANTS: usize = 60;
/// What readers ask for after each step.
const READS: usize = 5;
/// Lines of an answer that a failure shows on either side.
const AROUND: usize = 12;

pub(crate) async fn whatever_it_is_told_it_answers_as_the_model<B: Backend>(_: &B) {
    let backend = B::unsynced();
    let history = history();
    println!("history {history}");
    let mut both = Both {
        store: backend.open().await,
        model: Memory::default().open(),
        chance: Chance::new(history),
        kept: Vec::new(),
        tenants: tenants(0),
        step: 0,
        purged: [0; 3],
    };
    for step in 0..STEPS {
        both.step = step;
        if step % STEPS_OF_TENANTS == 0 {
            both.read_all().await;
            both.tenants = tenants(step);
            both.kept.clear();
        }
        match both.chance.below(12) {
            0 => both.clock().await,
            1 => both.clock_of_any().await,
            2 => both.purge().await,
            3 => both.purge_log().await,
            4 | 5 if !both.kept.is_empty() => both.replay().await,
            _ => both.round().await,
        }
        for _ in 0..READS {
            both.read().await;
        }
    }
    both.read_all().await;
    assert!(both.purged.iter().all(|rows| *rows > 0), "{:?}", both.purged);
}

fn history() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "which history to tell is the test run's business")]
    let asked = std::env::var("CALBRIDGE_HISTORY");
    asked.map_or(HISTORY, |history| history.parse().expect("CALBRIDGE_HISTORY is a number"))
}

fn tenants(step: usize) -> Tenants {
    ["acme", "acme-2", "beta"].map(|name| &*format!("{name}.{step}").leak())
}

/// A store and the model, told the same.
struct Both<S> {
    store: S,
    model: MemoryStore,
    chance: Chance,
    /// What is kept, and how it was answered.
    kept: Vec<(NewDelivery, FirstResult)>,
    tenants: Tenants,
    step: usize,
    /// How many bodies, deliveries and transitions were purged.
    purged: [usize; 3],
}

/// Asks both, and answers what they answer alike.
macro_rules! ask {
    ($both:ident.$operation:ident($($argument:expr),* $(,)?)) => {{
        let asked = || format!("{}{:?}", stringify!($operation), ($(&$argument,)*));
        let store = $both.store.$operation($($argument),*).await;
        let model = $both.model.$operation($($argument),*).await;
        let store = store.unwrap_or_else(|error| panic!("step {}, {}: {error}", $both.step, asked()));
        alike($both.step, asked, &store, &model.unwrap());
        store
    }};
}

impl<S: Store> Both<S> {
    async fn round(&mut self) {
        let (now, clock) = any_moment(&mut self.chance, &self.tenants);
        let trace_id = self.chance.of(&["", "feed"]).to_owned();
        let mut batch = Batch { now, clock, trace_id, ..Batch::default() };
        // Rows go in several at once: a round that fills such statements, now and then.
        let most = if self.chance.once_in(8) { 24 } else { 5 };
        for place in 0..=self.chance.below(most) {
            let known = self.kept.iter().map(|(kept, _)| kept).chain(&batch.deliveries).collect::<Vec<_>>();
            let delivery = if !known.is_empty() && self.chance.once_in(4) {
                let first = self.chance.of(&known).clone();
                copy(&mut self.chance, first)
            } else {
                let told = any_webhook(&mut self.chance, &self.tenants, &format!("{}.{place}", self.step)).delivery();
                // Of some ids the time lies ahead of every clock here.
                let delivery_id = if self.chance.once_in(8) { fresh_id() } else { id_at(now) };
                NewDelivery { delivery_id, ..told }
            };
            batch.deliveries.push(delivery);
        }
        if !self.kept.is_empty() && self.chance.once_in(4) {
            batch.duplicates = (0..=self.chance.below(3)).map(|_| self.any_note()).collect();
        }
        let committed = ask!(self.commit(batch.clone()));
        let answered = batch.deliveries.into_iter().zip(committed);
        self.kept.extend(answered.map(|(delivery, committed)| (delivery, committed.first)));
    }

    /// A copy that was recognised before the round.
    fn any_note(&mut self) -> DuplicateNote {
        let (kept, first) = self.chance.of(&self.kept);
        DuplicateNote {
            first,
            tenant: kept.key.tenant,
            receive_time: self.chance.seconds(100) * 1_000_000,
            secret_id: self.chance.of(&["main", "second"]).to_owned(),
            trace_id: self.chance.of(&["", "c0b1"]).to_owned(),
        }
    }

    /// The clock says what is due.
    async fn clock(&mut self) {
        let (now, clock) = any_moment(&mut self.chance, &self.tenants);
        let mut due = self.store.clock_due(now, Arc::clone(&clock), Arc::default()).await.unwrap();
        let mut expected = self.model.clock_due(now, Arc::clone(&clock), Arc::default()).await.unwrap();
        assert!(expected.len() < CLOCK_BOOKINGS_MAX, "which of more come first is any store's own");
        due.sort();
        expected.sort();
        alike(self.step, || format!("clock_due({now}, {clock:?})"), &due, &expected);
        self.hear(due, now, clock).await;
    }

    /// The clock is asked of bookings of which it has nothing to say as well.
    async fn clock_of_any(&mut self) {
        let (now, clock) = any_moment(&mut self.chance, &self.tenants);
        let mut keys: Vec<_> = (0..4).map(|_| self.any_key()).collect();
        keys.sort();
        keys.dedup();
        self.hear(keys, now, clock).await;
    }

    async fn hear(&mut self, keys: Vec<BookingKey>, now: i64, clock: Arc<ClockPolicies>) {
        let round = ClockRound { keys, now, clock, trace_id: self.chance.of(&["", "c10c"]).to_owned() };
        ask!(self.hear_clock(round.clone()));
    }

    /// What is kept is typed as it was, or as something else; some of it is not kept, or another tenant's.
    async fn replay(&mut self) {
        let chance = &mut self.chance;
        let (kept, first) = chance.of(&self.kept);
        let meant =
            if chance.once_in(2) { kept.clone() } else { any_webhook(chance, &self.tenants, "replay").delivery() };
        let mut delivery = NewDelivery {
            key: kept.key,
            delivery_id: if chance.once_in(12) { Uuid::nil() } else { first.delivery_id },
            facts: calbridge_booking::facts(&meant.event, &kept.body_sha256),
            body_sha256: kept.body_sha256,
            leaves_siblings_silent: chance.once_in(4),
            packed: PackedBody::default(),
            trace_id: chance.of(&["", "4e91"]).to_owned(),
            ..meant
        };
        if chance.once_in(12) {
            delivery.key.tenant = chance.of(&self.tenants).into();
        }
        let (now, clock) = any_moment(chance, &self.tenants);
        let replay = Replay { delivery, dry_run: chance.once_in(4), now, clock };
        ask!(self.replay(replay.clone()));
    }

    async fn purge(&mut self) {
        let chance = &mut self.chance;
        let (tenant, what) = (chance.of(&self.tenants), chance.of(&Purgeable::ALL));
        let (period, now) = (any_period(chance), any_now(chance));
        let is_read = chance.once_in(3);
        let floor = if is_read { Some(self.any_position().await) } else { None };
        let purge = Purge { tenant: tenant.into(), what, period, floor, now };
        let rows = ask!(self.purge(purge.clone())).rows;
        self.purged[usize::from(what == Purgeable::Deliveries)] += rows;
        ask!(self.watermarks(tenant));
        ask!(self.floors(None::<&str>));
        ask!(self.floors(Some(tenant)));
    }

    /// From its beginning, or from anywhere.
    async fn purge_log(&mut self) {
        let anywhere = self.any_position().await;
        let after = self.chance.of(&[Position::default(), anywhere]);
        let keepers = Arc::new(any_keepers(&mut self.chance, &self.tenants, anywhere));
        let now = any_now(&mut self.chance);
        for period in keepers.periods() {
            let purge = LogPurge { after, period, keepers: Arc::clone(&keepers), now };
            self.purged[2] += ask!(self.purge_log(purge.clone())).rows;
        }
        for tenant in self.tenants {
            ask!(self.watermarks(tenant));
        }
    }

    /// What some reader asks for.
    async fn read(&mut self) {
        let (tenant, uid) = self.any_key();
        let of = self.chance.of(&[None, Some(tenant.to_string())]);
        let position = self.any_position().await;
        let before = self.chance.of(&[None, Some(position)]);
        let limit = self.chance.of(&[1, 2, 5, 1_000]);
        match self.chance.below(12) {
            0 => self.read_booking(&tenant, &uid).await,
            1 => drop(ask!(self.lineage(&tenant, &uid, limit % 5))),
            2 => drop(ask!(self.timeline(&tenant, &uid, position, limit))),
            3 => drop(ask!(self.deliveries(&tenant, before, limit))),
            4 => self.read_delivery(&tenant).await,
            5 => self.read_journal(of, position, limit).await,
            6 => self.read_rows(of, limit).await,
            7 => self.confirm().await,
            _ => {
                let query = any_query(&mut self.chance, &self.tenants);
                self.read_list(query).await;
            }
        }
    }

    /// Everything that can be read.
    async fn read_all(&mut self) {
        for tenant in self.tenants {
            for uid in UIDS {
                self.read_booking(tenant, uid).await;
                ask!(self.lineage(tenant, uid, 0));
                ask!(self.timeline(tenant, uid, Position::default(), 10_000));
            }
            for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
                let query = by_start(Vec::new());
                self.read_list(BookingQuery { tenant: tenant.into(), order, ..query }).await;
            }
            ask!(self.deliveries(tenant, None::<Position>, 10_000));
        }
        self.read_journal(None, Position::default(), 10_000).await;
        self.read_rows(None, 7).await;
        let mut behind = String::new();
        while let Some(next) = ask!(self.next_tenant(&behind)) {
            behind = next;
        }
    }

    async fn read_booking(&mut self, tenant: &str, uid: &str) {
        ask!(self.booking(tenant, uid, false));
        ask!(self.booking(tenant, uid, true));
        let key: BookingKey = (tenant.into(), uid.to_owned());
        let store = self.store.row(key.clone()).await.unwrap();
        let model = self.model.row(key.clone()).await.unwrap();
        self.alike_rows(&key, store.into_iter().collect(), &model.into_iter().collect::<Vec<_>>());
    }

    /// Behind which delivery a row was first spoken of, a store may say too early and never too late.
    fn alike_rows(&self, asked: &dyn Debug, mut store: Vec<StoredRow>, model: &[StoredRow]) {
        for (row, exact) in store.iter_mut().zip(model) {
            assert!(row.first > Position::default() && row.first <= exact.first, "{row:?} {exact:?}");
            row.first = exact.first;
        }
        alike(self.step, || format!("rows of {asked:?}"), &&store[..], &model);
    }

    /// Page by page to the end. Where bodies were purged, pages may end anywhere.
    async fn read_journal(&mut self, tenant: Option<String>, after: Position, limit: usize) {
        async fn all(store: &impl Store, of: &(Option<String>, usize), mut after: Position) -> Vec<Delivery> {
            let mut read = Vec::new();
            loop {
                let page = store.journal(of.0.clone(), after, of.1).await.unwrap();
                assert!(page.len() <= of.1);
                let Some((last, _)) = page.last() else { return read };
                after = *last;
                read.extend(page.into_iter().map(|(_, delivery)| delivery));
            }
        }
        let of = (tenant, limit);
        let (store, model) = (all(&self.store, &of, after).await, all(&self.model, &of, after).await);
        alike(self.step, || format!("journal {of:?} behind {after:?}"), &store, &model);
    }

    /// Page by page to the end.
    async fn read_list(&mut self, mut query: BookingQuery) {
        loop {
            query.after = ask!(self.bookings(query.clone())).next;
            if query.after.is_none() {
                break;
            }
        }
    }

    /// Page by page to the end.
    async fn read_rows(&mut self, tenant: Option<String>, limit: usize) {
        let mut after: Option<BookingKey> = None;
        loop {
            let store = self.store.rows(tenant.clone(), after.clone(), limit).await.unwrap();
            let model = self.model.rows(tenant.clone(), after.clone(), limit).await.unwrap();
            alike(self.step, || format!("rows {tenant:?} behind {after:?}"), &store.more, &model.more);
            let last = store.rows.last().map(|row| row.key.clone());
            self.alike_rows(&(&tenant, &after), store.rows, &model.rows);
            after = last;
            if !store.more {
                break;
            }
        }
    }

    /// Its own tenant's, or another's, with its body or without.
    async fn read_delivery(&mut self, tenant: &str) {
        if self.kept.is_empty() {
            return;
        }
        let (kept, first) = self.chance.of(&self.kept);
        for tenant in [tenant, &kept.key.tenant] {
            let with_body = self.chance.once_in(2);
            ask!(self.delivery(tenant, first.delivery_id, with_body));
        }
    }

    async fn confirm(&mut self) {
        let mut keys: Vec<_> = self.kept.iter().rev().take(5).map(|(kept, _)| kept.key.clone()).collect();
        keys.extend(keys.first().map(|known| DeliveryKey { time: known.time + 1, ..known.clone() }));
        keys.push(any_webhook(&mut self.chance, &self.tenants, "confirm").delivery().key);
        ask!(self.confirm(keys.clone()));
    }

    fn any_key(&mut self) -> BookingKey {
        (self.chance.of(&self.tenants).into(), self.chance.of(&UIDS).to_owned())
    }

    async fn any_position(&mut self) -> Position {
        let head = ask!(self.head());
        Position(self.chance.seconds(head.0.unsigned_abs() + 2))
    }
}

/// The same body once more.
fn copy(chance: &mut Chance, first: NewDelivery) -> NewDelivery {
    let mut copy = NewDelivery { delivery_id: fresh_id(), trace_id: "c0b2".to_owned(), ..first };
    copy.event.receive_time = Some(Timestamp { seconds: chance.seconds(100), nanos: 1_500 });
    chance.of(&["main", "second"]).clone_into(&mut copy.event.secret_id);
    copy
}

/// Fails with the first line in which two answers differ.
fn alike<T: Debug + PartialEq>(step: usize, asked: impl Fn() -> String, store: &T, model: &T) {
    assert!(store == model, "step {step}, {}, {}", asked(), difference(store, model));
}

fn difference<T: Debug>(store: &T, model: &T) -> String {
    let (store, model) = (format!("{store:#?}"), format!("{model:#?}"));
    let alike = store.lines().zip(model.lines()).take_while(|(one, other)| one == other).count();
    let around = |told: &str| {
        let lines = told.lines().skip(alike.saturating_sub(AROUND)).take(2 * AROUND);
        lines.collect::<Vec<_>>().join("\n")
    };
    format!("line {}\nthe store:\n{}\nthe model:\n{}", alike + 1, around(&store), around(&model))
}
