//! Finding bookings: filters, lineages, one's own write, the booking that another became.

use std::time::{Duration, Instant};

use calbridge_proto::v1::{
    self, BookingStatus, GetBookingRequest, GetLineageRequest, ListBookingsRequest, SubmitOutcome, TimelineNote,
    TransitionSource, Trigger,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    events::{created, event, golden},
    harness::{Harness, invalid, one_of_three_damaged, refusal},
};

fn filter(text: &str) -> ListBookingsRequest {
    ListBookingsRequest { tenant: "acme".to_owned(), filter: text.to_owned(), ..Default::default() }
}

async fn uids(service: &Harness, text: &str) -> Vec<String> {
    let listed = service.bookings().list_bookings(filter(text)).await.unwrap().into_inner();
    assert_eq!(listed.next_page_token, "");
    listed.bookings.into_iter().map(|booking| booking.uid).collect()
}

fn get(uid: &str) -> GetBookingRequest {
    GetBookingRequest { tenant: "acme".to_owned(), uid: uid.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_filter_finds_bookings() {
    let service = Harness::start().await;
    let mut campaign = golden("u1", 0);
    campaign.metadata =
        [("outreachSequenceId".to_owned(), "s-17".to_owned()), ("my key".to_owned(), "x".into())].into();
    service.submit(event(Trigger::BookingCreated, &campaign)).await.unwrap();
    service.submit(event(Trigger::BookingRequested, &golden("u2", 1))).await.unwrap();
    for (text, expected) in [
        ("", &["u1", "u2"][..]),
        ("status = SCHEDULED", &["u1"]),
        ("status = REQUESTED AND event_type_id = 310", &["u2"]),
        ("metadata.outreachSequenceId = s-17", &["u1"]),
        ("metadata.\"my key\" = \"x\"", &["u1"]),
        ("attendee_email = \"TOMAS@lighthouse.example\"", &["u1", "u2"]),
        ("organizer_email = mara@harbour-studio.example AND status != SCHEDULED", &["u2"]),
        ("start_time >= \"2026-10-03T00:00:00Z\" AND start_time < \"2026-10-04T00:00:00Z\"", &["u1", "u2"]),
        ("start_time > \"2026-10-04T00:00:00Z\"", &[]),
        ("update_time > \"2026-01-01T00:00:00Z\"", &["u1", "u2"]),
    ] {
        assert_eq!(uids(&service, text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn a_damaged_booking_hides_no_other() {
    let service = one_of_three_damaged().await;
    assert_eq!(uids(&service, "").await, ["u1", "u3"]);
    let unavailable = (Code::Unavailable, "STORE_UNAVAILABLE".to_owned(), None);
    assert_eq!(refusal(&service.bookings().get_booking(get("u2")).await.unwrap_err()), unavailable);
    let lineage = GetLineageRequest { tenant: "acme".to_owned(), uid: "u2".to_owned(), ..Default::default() };
    assert_eq!(refusal(&service.bookings().get_lineage(lineage).await.unwrap_err()), unavailable);
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused_where_it_goes_wrong() {
    let service = Harness::start().await;
    let refused = service.bookings().list_bookings(filter("status = SCHEDULED OR title = \"x\"")).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "FILTER_SYNTAX".to_owned(), Some("filter".to_owned())));
    assert!(refused.message().contains("character 20: expected AND"), "{}", refused.message());
    let details = refused.get_error_details();
    assert!(details.bad_request().unwrap().field_violations[0].description.contains("character 20"));
    let person = service.bookings().list_bookings(filter("attendee_email > someone@x.example")).await.unwrap_err();
    assert!(!person.message().contains("someone"), "a refusal repeats nothing: {}", person.message());
}

#[tokio::test]
async fn a_page_token_is_bound_to_its_filter() {
    let service = Harness::start().await;
    for uid in ["u1", "u2", "u3"] {
        service.submit(created(uid)).await.unwrap();
    }
    let first = ListBookingsRequest { page_size: 1, ..filter("status = SCHEDULED") };
    let page = service.bookings().list_bookings(first.clone()).await.unwrap().into_inner();
    let next = |text: &str| ListBookingsRequest { page_token: page.next_page_token.clone(), ..filter(text) };
    // The same conditions, otherwise written.
    let same = service.bookings().list_bookings(next("  status=BOOKING_STATUS_SCHEDULED ")).await.unwrap().into_inner();
    assert_eq!((same.bookings.len(), same.next_page_token.as_str()), (2, ""));
    for other in ["", "status != SCHEDULED", "status = SCHEDULED AND event_type_id = 310"] {
        let refused = service.bookings().list_bookings(next(other)).await.unwrap_err();
        let mismatch = (Code::InvalidArgument, "PAGE_TOKEN_MISMATCH".to_owned(), Some("page_token".to_owned()));
        assert_eq!(refusal(&refused), mismatch, "{other}");
    }
}

#[tokio::test]
async fn a_reader_waits_for_its_own_write_and_not_for_ever() {
    let service = Harness::start().await;
    let written = service.submit(created("u1")).await.unwrap();
    let own = GetBookingRequest { min_position: written.position.clone(), ..get("u1") };
    assert!(service.bookings().get_booking(own).await.unwrap().into_inner().booking.is_some());
    let nonsense = GetBookingRequest { min_position: "seven".to_owned(), ..get("u1") };
    assert_eq!(refusal(&service.bookings().get_booking(nonsense).await.unwrap_err()), invalid("min_position"));

    let ahead = |position: u64| GetBookingRequest { min_position: format!("{position:016x}"), ..get("u1") };
    let begun = Instant::now();
    let refused = service.bookings().get_booking(ahead(1_000)).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned(), None));
    assert!(refused.message().contains("min_position"), "{}", refused.message());
    assert!(refused.get_error_details().retry_info().is_some());
    assert!(begun.elapsed() >= Duration::from_secs(1));

    // One that comes while the reader waits.
    let next = u64::from_str_radix(&written.position, 16).unwrap() + 1;
    let mut bookings = service.bookings();
    let (read, written) = tokio::join!(
        bookings.get_booking(ahead(next)),
        service.submit(event(Trigger::BookingCancelled, &golden("u1", 5)))
    );
    assert_eq!(written.unwrap().outcome(), SubmitOutcome::Applied);
    assert_eq!(read.unwrap().into_inner().booking.unwrap().status(), BookingStatus::Cancelled);
}

#[tokio::test]
async fn a_lineage_is_read_from_any_of_its_bookings_and_followed_to_its_end() {
    let service = Harness::start().await;
    let first = golden("u1", 0);
    let later = |seconds| golden("x", seconds).created_at;
    let second = first.moved("u2", 8, later(10), golden("x", 5_000).start);
    let third = second.moved("u3", 9, later(20), golden("x", 9_000).start);
    service.submit(event(Trigger::BookingCreated, &first)).await.unwrap();
    for moved in [&third, &second] {
        service.submit(event(Trigger::BookingRescheduled, moved)).await.unwrap();
    }
    for uid in ["u1", "u2", "u3"] {
        let request = GetLineageRequest { tenant: "acme".to_owned(), uid: uid.to_owned(), ..Default::default() };
        let lineage = service.bookings().get_lineage(request).await.unwrap().into_inner().bookings;
        assert_eq!(lineage.iter().map(|booking| booking.uid.as_str()).collect::<Vec<_>>(), ["u1", "u2", "u3"]);
        assert!(lineage.iter().all(|booking| booking.origin_uid == "u1" && !booking.etag.is_empty()));
        let follow = GetBookingRequest { follow_reschedules: true, ..get(uid) };
        let last = service.bookings().get_booking(follow).await.unwrap().into_inner().booking.unwrap();
        assert_eq!(last, lineage[2]);
    }
    let unknown = GetLineageRequest { tenant: "acme".to_owned(), uid: "nobody".to_owned(), ..Default::default() };
    let refused = service.bookings().get_lineage(unknown).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "BOOKING_NOT_FOUND".to_owned(), None));
    let nameless = GetLineageRequest { tenant: "acme".to_owned(), ..Default::default() };
    assert_eq!(refusal(&service.bookings().get_lineage(nameless).await.unwrap_err()), invalid("uid"));
}

#[tokio::test]
async fn a_timeline_names_who_spoke_about_what_and_what_it_leaves_unsaid() {
    let service = Harness::start().await;
    let first = golden("u1", 0);
    let second = first.moved("u2", 8, golden("x", 10).created_at, golden("x", 5_000).start);
    service.submit(event(Trigger::BookingCreated, &first)).await.unwrap();
    service.submit(event(Trigger::BookingRescheduled, &second)).await.unwrap();
    let old = service.timeline("u1").await;
    let about: Vec<_> = old.iter().map(|entry| (entry.booking_uid.as_str(), entry.source())).collect();
    assert_eq!(about, [("u1", TransitionSource::Webhook), ("u2", TransitionSource::Webhook)]);

    let cancel = calbridge_calcom::golden::Golden { recurring: true, ..golden("u5", 3) };
    service.submit(event(Trigger::BookingCreated, &golden("u5", 0))).await.unwrap();
    service.submit(event(Trigger::BookingCancelled, &cancel)).await.unwrap();
    let timeline = service.timeline("u5").await;
    let notes: Vec<Vec<_>> = timeline.iter().map(|entry| entry.notes().collect()).collect();
    assert_eq!(notes, [vec![], vec![TimelineNote::SiblingsMayHaveChanged]]);
}

#[tokio::test]
async fn an_etag_changes_when_the_booking_does_and_not_otherwise() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let first = service.booking("u1").await.etag;
    service.submit(event(Trigger::BookingCreated, &golden("u1", 1))).await.unwrap();
    assert_eq!(service.booking("u1").await.etag, first, "a copy changes nothing");
    service.submit(event(Trigger::BookingCancelled, &golden("u1", 2))).await.unwrap();
    assert_ne!(service.booking("u1").await.etag, first);
    let listed: Vec<v1::Booking> = service.bookings().list_bookings(filter("")).await.unwrap().into_inner().bookings;
    assert_eq!(listed, [service.booking("u1").await]);
}
