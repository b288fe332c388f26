//! A seeded store is one that the service might have filled itself: it answers, it holds what its journal says, and
//! webhooks go on where the seeding ended.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers as well")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use calbridge_bench::webhooks::{
    body::{Mix, Traffic},
    closed::{self, Load, Until, Window},
    disk,
    ground::{Ground, Site},
    rig::{Rig, Store, Traces},
    sample::Sample,
    target::Next,
    wire::Client,
};
use calbridge_e2e::{api::Api, program, system::TENANT};
use calbridge_proto::v1::{
    Booking, BookingStatus, GetLineageRequest, ListBookingsRequest, RefoldDeliveriesRequest, RefoldSummary,
    refold_deliveries_response::Step,
};
use calbridge_service::store::maintain;
use jiff::Timestamp;
use tempfile::TempDir;

/// No end passes while a test runs: what a booking is does not depend on when that is.
const ORIGIN: Timestamp = Timestamp::constant(4_000_000_000, 0);

/// A thousand bookings are created and then moved; of the first half the last webhook is seeded too.
const SEEDED: u64 = 2_500;
/// All lives are over.
const SENT: u64 = 3_000;

async fn seeded(folder: &TempDir, mix: Mix, webhooks: u64) -> (Ground, Rig) {
    let traffic = Traffic { mix, copies_per_thousand: 0 };
    let site = Site { data: folder.path().to_owned(), origin: ORIGIN, traffic, programs: program::folder() };
    let ground = Ground::prepare(&site, false).await.unwrap();
    let rig = ground.seeded("seeded", Store::Sqlite, Traces::Off, webhooks).await.unwrap();
    (ground, rig)
}

/// Goes on until so many webhooks were seeded and sent in all.
async fn send(rig: &Rig, until: u64) -> Sample {
    let target = Arc::clone(&rig.target);
    let load = Load { client: Client::Lean, connections: 8, next: Next::New };
    let window = Window { warm_up: Duration::ZERO, until: Until::Sent(until) };
    tokio::task::spawn_blocking(move || closed::run(&target, load, window)).await.unwrap().unwrap()
}

async fn list(api: &Api, filter: String) -> Vec<Booking> {
    let request = ListBookingsRequest { tenant: TENANT.to_owned(), page_size: 1_000, filter, ..Default::default() };
    api.bookings().list_bookings(request).await.unwrap().into_inner().bookings
}

/// The service's own check: every booking against the journal that it was folded from.
async fn check(api: &Api) -> RefoldSummary {
    let mut steps = api.deliveries().refold_deliveries(RefoldDeliveriesRequest::default()).await.unwrap().into_inner();
    let mut last = None;
    while let Some(step) = steps.message().await.unwrap() {
        last = step.step;
    }
    let Some(Step::Summary(summary)) = last else { panic!("the check ended with {last:?}") };
    summary
}

#[tokio::test]
async fn lives_go_on_in_a_seeded_store() {
    let folder = TempDir::new().unwrap();
    let (_ground, rig) = seeded(&folder, Mix::Life, SEEDED).await;
    let api = Api::new(rig.grpc());

    let bookings = api.all_bookings(TENANT).await;
    let of = |status| bookings.iter().filter(|booking| booking.status() == status).count();
    let (held, cancelled) = (BookingStatus::Completed, BookingStatus::Cancelled);
    let counts = [of(BookingStatus::Rescheduled), of(BookingStatus::Scheduled), of(held), of(cancelled)];
    assert_eq!((bookings.len(), counts), (2_000, [1_000, 500, 250, 250]));
    let guests: BTreeSet<_> = bookings.iter().map(|booking| booking.attendees[0].email.clone()).collect();
    assert_eq!(guests.len(), 1_000, "each life has a guest of its own");
    let one = bookings.iter().find(|booking| booking.status() == BookingStatus::Scheduled).unwrap();

    assert_eq!(api.booking(TENANT, &one.uid).await.as_ref(), Some(one));
    let found = list(&api, format!("attendee_email = \"{}\"", one.attendees[0].email)).await;
    assert!(found.len() == 2 && found.contains(one), "{found:?}");
    let request = GetLineageRequest { tenant: TENANT.to_owned(), uid: one.uid.clone(), ..Default::default() };
    let lineage = api.bookings().get_lineage(request).await.unwrap().into_inner().bookings;
    assert_eq!(lineage.iter().map(|booking| &booking.uid).collect::<Vec<_>>(), [&one.rescheduled_from_uid, &one.uid]);
    let said = api.timeline(TENANT, &one.uid).await.len();
    assert_eq!(check(&api).await, RefoldSummary { deliveries: 2_500, bookings: 2_000, ..Default::default() });

    // What is sent then speaks of bookings that were seeded.
    assert_eq!(send(&rig, SENT).await.duplicates, 0);
    assert_eq!(api.all_bookings(TENANT).await.len(), 2_000, "none is new");
    let ended = api.booking(TENANT, &one.uid).await.unwrap();
    assert!([held, cancelled].contains(&ended.status()), "{ended:?}");
    assert_eq!(api.timeline(TENANT, &one.uid).await.len(), said + 1);
    assert_eq!(check(&api).await, RefoldSummary { deliveries: 3_000, bookings: 2_000, ..Default::default() });

    let database = rig.stop().await;
    let stats = maintain::stats(&database, true).await.unwrap();
    let counts: Vec<_> = stats.counts.iter().map(|(name, count)| (*name, count.rows)).collect();
    assert_eq!(counts[..3], [("deliveries", 3_000), ("bodies", 3_000), ("bookings_shown", 2_000)]);
    let disk = disk::of(&database).await.unwrap();
    assert_eq!(disk.parts.iter().sum::<u64>(), disk.bytes);
    assert!(disk.parts.iter().all(|bytes| *bytes > 0), "{disk:?}");
}

#[tokio::test]
async fn new_bookings_come_behind_those_that_were_seeded() {
    let folder = TempDir::new().unwrap();
    let (_ground, rig) = seeded(&folder, Mix::Created, 1_500).await;
    let api = Api::new(rig.grpc());
    assert_eq!(send(&rig, 2_000).await.duplicates, 0);
    let uids: BTreeSet<_> = api.all_bookings(TENANT).await.into_iter().map(|booking| booking.uid).collect();
    assert_eq!(uids.len(), 2_000);
    let deliveries = api.all_deliveries(TENANT).await;
    let created = deliveries.iter().filter_map(|delivery| delivery.event_time);
    assert_eq!(created.filter(|time| time.seconds < ORIGIN.as_second()).count(), 1_500);
    assert_eq!(deliveries.len(), 2_000);
}
