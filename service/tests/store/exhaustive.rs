//! Every order of a life's webhooks, and every order with one of them told twice, ends in one state: the bookings that
//! are read, the bytes that are kept, and the ends that the life was written with.
//!
//! What an ordinary run leaves out, since one webhook more makes for nine times the histories:
//!
//!     CALBRIDGE_EXHAUSTIVE_EVENTS=7 cargo nextest run --workspace --cargo-profile ci \
//!         -E 'test(every_order_of_a_life)' --no-capture

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use calbridge_calcom::golden::{
    self,
    lives::{self, Life},
};
use calbridge_proto::v1;
use calbridge_service::store::{Batch, BookingQuery, Committed, NewDelivery, Store};

use crate::support::*;

/// Lives of up to so many webhooks are told in every run.
const EVENTS: usize = 5;

/// So many histories share a store: enough to pay for it, and few enough that the store of a life with 146,160 of them
/// stays small.
const SIDE_BY_SIDE: usize = 2_000;
/// So many webhooks share a round: no more than the ingest commits at once.
const ROUND_EVENTS: usize = 512;

/// Which webhook of the life comes when.
type History = Vec<usize>;

pub(crate) async fn every_order_of_a_life_ends_in_one_state<B: Backend>(_: &B) {
    let longest = longest();
    let (told, left): (Vec<_>, Vec<_>) = lives::all().into_iter().partition(|life| life.steps.len() <= longest);
    assert!(!told.is_empty(), "no life is as short as {longest}");
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for life in &told {
        let begun = Instant::now();
        let (events, histories) = (life.steps.len(), tell_every_history::<B>(life).await);
        if events > EVENTS {
            let seconds = begun.elapsed().as_secs();
            println!("{}: {events} events, {histories} histories, one state, {seconds} s", life.name);
        }
        let count = counts.entry(events).or_default();
        *count = (count.0 + 1, count.1 + histories);
    }
    for (events, (lives, histories)) in &counts {
        println!("lives of {events} events: {lives}, in {histories} histories");
    }
    let total: usize = counts.values().map(|(_, histories)| histories).sum();
    println!("{} lives in {total} histories, one state for each life", told.len());
    for life in &left {
        println!("{}: left to CALBRIDGE_EXHAUSTIVE_EVENTS={}", life.name, life.steps.len());
    }
}

fn longest() -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long to run is the test run's business")]
    let asked = std::env::var("CALBRIDGE_EXHAUSTIVE_EVENTS");
    asked.map_or(EVENTS, |events| events.parse().expect("CALBRIDGE_EXHAUSTIVE_EVENTS is a number"))
}

async fn tell_every_history<B: Backend>(life: &Life) -> usize {
    let histories = histories(life.steps.len());
    let mut expected = None;
    for side_by_side in histories.chunks(SIDE_BY_SIDE) {
        for (history, end) in side_by_side.iter().zip(tell::<B>(life, side_by_side).await) {
            // The first of all is the one in order, and nothing is told twice in it.
            let expected = expected.get_or_insert_with(|| {
                assert_eq!(end.outline(), outline_of(life), "{}: as it was written", life.name);
                assert!(end.states.len() >= end.bookings.len(), "{}: every booking has a row", life.name);
                end.clone()
            });
            assert_eq!(end.bookings, expected.bookings, "{} told as {history:?}", life.name);
            assert!(end.states == expected.states, "{} told as {history:?}: other bytes are kept", life.name);
        }
    }
    histories.len()
}

/// How one history ended.
#[derive(Clone)]
struct End {
    /// By uid, without what only tells when *we* learned.
    bookings: Vec<v1::Booking>,
    /// By uid, those that are not shown too.
    states: Vec<(String, Vec<u8>)>,
}

type Outline = Vec<(String, v1::BookingStatus, v1::PaymentStatus)>;

impl End {
    fn outline(&self) -> Outline {
        let of = |booking: &v1::Booking| (booking.uid.clone(), booking.status(), booking.payment_status());
        self.bookings.iter().map(of).collect()
    }
}

fn outline_of(life: &Life) -> Outline {
    let mut outline: Outline =
        life.ends.iter().map(|(uid, status, payment)| ((*uid).to_owned(), *status, *payment)).collect();
    outline.sort_by(|one, other| one.0.cmp(&other.0));
    outline
}

/// Tells histories of one life, each to a tenant of its own: the first webhook of every one, the second of every one,
/// and so on. The store is gone when it returns.
async fn tell<B: Backend>(life: &Life, histories: &[History]) -> Vec<End> {
    let backend = B::unsynced();
    let store = backend.open().await;
    let tenants: Vec<Arc<str>> = (0..histories.len()).map(|number| format!("h{number:04}").into()).collect();
    let steps: Vec<_> = life.steps.iter().map(|(trigger, told)| typed(golden::body(*trigger, told))).collect();
    let mut chains = vec![Chain::default(); histories.len()];
    for round in 0..=life.steps.len() {
        // A history in which nothing is told twice is a round shorter.
        let told: Vec<_> =
            (0..histories.len()).filter_map(|history| Some((history, *histories[history].get(round)?))).collect();
        let now = NOW + i64::try_from(round).unwrap();
        for told in told.chunks(ROUND_EVENTS) {
            let arrived = |(history, step): &(usize, usize)| arrived(&steps[*step], &tenants[*history], round);
            let deliveries = told.iter().map(arrived).collect();
            let committed = store.commit(Batch { deliveries, now, ..Batch::default() }).await.unwrap();
            assert_eq!(committed.len(), told.len());
            for ((history, step), committed) in told.iter().zip(&committed) {
                chains[*history].follow(*step, committed);
            }
        }
    }
    let mut ends = Vec::new();
    for (tenant, chain) in tenants.iter().zip(&chains) {
        let bookings = bookings(&store, tenant).await;
        chain.ends_at(&bookings);
        ends.push(End { bookings, states: Vec::new() });
    }
    store.close().await;
    drop(store);
    let mut states = backend.states().await;
    for (tenant, end) in tenants.iter().zip(&mut ends) {
        end.states = states.remove(&**tenant).unwrap_or_default();
    }
    assert!(states.is_empty(), "nobody else has a booking");
    ends
}

/// The same webhook at another tenant and another time.
fn arrived(step: &NewDelivery, tenant: &Arc<str>, round: usize) -> NewDelivery {
    let mut delivery = NewDelivery { delivery_id: fresh_id(), ..step.clone() };
    delivery.key.tenant = Arc::clone(tenant);
    tenant.as_ref().clone_into(&mut delivery.event.tenant);
    delivery.event.request_id = fresh_id().to_string();
    delivery.event.receive_time = Some(prost_types::Timestamp { seconds: i64::try_from(round).unwrap(), nanos: 0 });
    delivery
}

/// The transitions of one history's bookings: each begins where the one before it ended.
#[derive(Clone, Default)]
struct Chain {
    last: BTreeMap<String, v1::BookingStatus>,
    /// Which webhooks were told.
    told: Vec<usize>,
}

impl Chain {
    fn follow(&mut self, step: usize, committed: &Committed) {
        let again = self.told.contains(&step);
        assert_eq!(committed.outcome == v1::SubmitOutcome::Duplicate, again, "{:?}, then {step}", self.told);
        for made in &committed.transitions {
            let before = self.last.insert(made.uid.clone(), made.to_status());
            assert_eq!(made.from_status(), before.unwrap_or_default(), "{:?}, then {step}: {made:?}", self.told);
        }
        self.told.push(step);
    }

    fn ends_at(&self, bookings: &[v1::Booking]) {
        let found = bookings.iter().map(|booking| (booking.uid.clone(), booking.status())).collect();
        assert_eq!(self.last, found, "{:?}", self.told);
    }
}

/// The tenant's bookings as the API shows them, without what only tells when *we* learned.
async fn bookings(store: &impl Store, tenant: &Arc<str>) -> Vec<v1::Booking> {
    let query = BookingQuery { tenant: Arc::clone(tenant), limit: 100, ..by_start(Vec::new()) };
    let mut bookings = store.bookings(query).await.unwrap().bookings;
    bookings.sort_by(|one, other| one.uid.cmp(&other.uid));
    for booking in &mut bookings {
        booking.tenant.clear();
        booking.position.clear();
        booking.etag.clear();
        booking.update_time = None;
    }
    bookings
}

/// Every order of so many webhooks, then every order with each of them told twice; the first is the order itself.
fn histories(events: usize) -> Vec<History> {
    let once: History = (0..events).collect();
    let mut histories = orders(once.clone());
    for twice in 0..events {
        let mut told = once.clone();
        told.insert(twice, twice);
        histories.extend(orders(told));
    }
    let factorial = |number: usize| (1..=number).product::<usize>();
    assert_eq!(histories.len(), factorial(events) + events * factorial(events + 1) / 2);
    histories
}

/// Every different order, each once, from `told` on, which is sorted.
fn orders(mut told: History) -> Vec<History> {
    let mut orders = vec![told.clone()];
    // The next in the order of a dictionary: the last place that can rise takes the least that is greater.
    while let Some(rising) = (1..told.len()).rev().find(|place| told[place - 1] < told[*place]) {
        let place = rising - 1;
        let least = (rising..told.len()).rev().find(|behind| told[*behind] > told[place]).unwrap();
        told.swap(place, least);
        told[rising..].reverse();
        orders.push(told.clone());
    }
    orders
}

#[test]
fn every_history_is_told_once() {
    let all = histories(4);
    let apart: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), apart.len()), (264, 264));
    assert_eq!(all[0], [0, 1, 2, 3]);
}
