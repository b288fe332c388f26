//! Reading: bookings, pages, timelines, deliveries, and what is refused.

use calbridge_proto::v1::{
    self, GetBookingRequest, GetDeliveryRequest, GetTimelineRequest, ListBookingsRequest, ListDeliveriesRequest,
    SubmitOutcome, Trigger,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    events::{created, event, golden, received},
    harness::{Harness, invalid, refusal},
};

fn list(page_token: &str, order_by: &str) -> ListBookingsRequest {
    ListBookingsRequest {
        tenant: "acme".to_owned(),
        page_size: 3,
        page_token: page_token.to_owned(),
        order_by: order_by.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn pages_show_every_booking_once_in_order() {
    let service = Harness::start().await;
    for index in 0..10 {
        let mut golden = golden(&format!("u{index}"), index);
        // Three start at the same time.
        golden.start = jiff::Timestamp::from_second(1_791_000_000 + (index / 3) * 60).unwrap();
        service.submit(event(Trigger::BookingCreated, &golden)).await.unwrap();
    }
    let mut orders = Vec::new();
    for order_by in ["", "start_time", "start_time desc", "update_time", "update_time desc"] {
        let (mut uids, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = service.bookings().list_bookings(list(&token, order_by)).await.unwrap().into_inner();
            uids.extend(page.bookings.into_iter().map(|booking| booking.uid));
            pages += 1;
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(pages, 4, "{order_by}");
        orders.push(uids);
    }
    let rising: Vec<String> = (0..10).map(|index| format!("u{index}")).collect();
    let falling: Vec<String> = rising.iter().rev().cloned().collect();
    assert_eq!(orders[0], rising);
    assert_eq!(orders[1], rising);
    assert_eq!(orders[2], falling);
    assert_eq!(orders[3], rising);
    assert_eq!(orders[4], falling);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list() {
    let service = Harness::start().await;
    for index in 0..5 {
        service.submit(created(&format!("u{index}"))).await.unwrap();
    }
    let token = service.bookings().list_bookings(list("", "")).await.unwrap().into_inner().next_page_token;
    let mismatch = (Code::InvalidArgument, "PAGE_TOKEN_MISMATCH".to_owned(), Some("page_token".to_owned()));
    let foreign = ListBookingsRequest { tenant: "other".to_owned(), ..list(&token, "") };
    for request in [list(&token, "update_time"), list("nonsense", ""), foreign] {
        let status = service.bookings().list_bookings(request).await.unwrap_err();
        assert_eq!(refusal(&status), mismatch);
    }
    let timeline = GetTimelineRequest {
        tenant: "acme".to_owned(),
        uid: "u1".to_owned(),
        page_token: token.clone(),
        ..Default::default()
    };
    assert_eq!(refusal(&service.bookings().get_timeline(timeline).await.unwrap_err()), mismatch);
    let deliveries =
        ListDeliveriesRequest { tenant: "acme".to_owned(), page_token: token.clone(), ..Default::default() };
    assert_eq!(refusal(&service.deliveries().list_deliveries(deliveries).await.unwrap_err()), mismatch);
    // The default order may be said or not: it is the same list. So may the size of a page change.
    let same = ListBookingsRequest { page_size: 1, ..list(&token, "start_time") };
    assert_eq!(service.bookings().list_bookings(same).await.unwrap().into_inner().bookings.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_its_field() {
    let service = Harness::start().await;
    let booking = |tenant: &str, uid: &str| GetBookingRequest {
        tenant: tenant.to_owned(),
        uid: uid.to_owned(),
        ..Default::default()
    };
    for (request, field) in
        [(booking("", "u1"), "tenant"), (booking("A", "u1"), "tenant"), (booking("acme", ""), "uid")]
    {
        assert_eq!(refusal(&service.bookings().get_booking(request).await.unwrap_err()), invalid(field));
    }
    let missing = service.bookings().get_booking(booking("acme", "nobody")).await.unwrap_err();
    assert_eq!(refusal(&missing), (Code::NotFound, "BOOKING_NOT_FOUND".to_owned(), None));
    assert_eq!(missing.get_error_details().resource_info().unwrap().resource_name, "nobody");
    for (request, field) in [
        (ListBookingsRequest { page_size: -1, ..list("", "") }, "page_size"),
        (list("", "title"), "order_by"),
        (ListBookingsRequest { tenant: "a b".to_owned(), ..list("", "") }, "tenant"),
    ] {
        assert_eq!(refusal(&service.bookings().list_bookings(request).await.unwrap_err()), invalid(field));
    }
    let filtered = ListBookingsRequest { filter: "status = PLANNED".to_owned(), ..list("", "") };
    let syntax = (Code::InvalidArgument, "FILTER_SYNTAX".to_owned(), Some("filter".to_owned()));
    assert_eq!(refusal(&service.bookings().list_bookings(filtered).await.unwrap_err()), syntax);
    let filtered = ListDeliveriesRequest { tenant: "acme".to_owned(), filter: "x".to_owned(), ..Default::default() };
    assert_eq!(refusal(&service.deliveries().list_deliveries(filtered).await.unwrap_err()), syntax);
}

#[tokio::test]
async fn deliveries_come_newest_first_with_their_bytes_on_request() {
    let service = Harness::start().await;
    let first = service.submit(created("u1")).await.unwrap();
    let raw = b"{\"hello\": \"a template\"}".to_vec();
    let second = service.submit(received(raw.clone())).await.unwrap();
    let mut ids = Vec::new();
    let mut token = String::new();
    loop {
        let request =
            ListDeliveriesRequest { tenant: "acme".to_owned(), page_size: 1, page_token: token, ..Default::default() };
        let page = service.deliveries().list_deliveries(request).await.unwrap().into_inner();
        ids.extend(page.deliveries.into_iter().map(|delivery| delivery.delivery_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, [second.delivery_id.clone(), first.delivery_id]);

    let get = |id: &str, tenant: &str, include_raw_body| GetDeliveryRequest {
        tenant: tenant.to_owned(),
        delivery_id: id.to_owned(),
        include_raw_body,
    };
    let mut deliveries = service.deliveries();
    let lean = deliveries.get_delivery(get(&second.delivery_id, "acme", false)).await.unwrap().into_inner();
    let lean = lean.delivery.unwrap();
    assert_eq!((lean.outcome(), lean.disposition()), (SubmitOutcome::Unparsed, v1::DeliveryDisposition::Unparsed));
    assert!(lean.raw_body.is_empty());
    let whole = deliveries.get_delivery(get(&second.delivery_id, "acme", true)).await.unwrap().into_inner();
    assert_eq!(whole.delivery.unwrap().raw_body, raw);
    let foreign = deliveries.get_delivery(get(&second.delivery_id, "other", false)).await.unwrap_err();
    assert_eq!(refusal(&foreign), (Code::NotFound, "DELIVERY_NOT_FOUND".to_owned(), None));
    let nonsense = deliveries.get_delivery(get("17", "acme", false)).await.unwrap_err();
    assert_eq!(refusal(&nonsense), invalid("delivery_id"));
}

#[tokio::test]
async fn a_timeline_is_read_page_by_page_and_an_unknown_one_is_empty() {
    let service = Harness::start().await;
    for seconds in 0..5 {
        service.submit(event(Trigger::BookingCreated, &golden("u1", seconds))).await.unwrap();
    }
    let (mut entries, mut token) = (Vec::new(), String::new());
    loop {
        let request =
            GetTimelineRequest { tenant: "acme".to_owned(), uid: "u1".to_owned(), page_size: 2, page_token: token };
        let page = service.bookings().get_timeline(request).await.unwrap().into_inner();
        assert!(page.entries.len() <= 2);
        entries.extend(page.entries);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(entries.len(), 5);
    assert!(entries.is_sorted_by(|one, next| one.position < next.position));
    assert!(service.timeline("nobody").await.is_empty());
}
