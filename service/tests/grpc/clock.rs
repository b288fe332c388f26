//! The clock of a running service.

use std::{sync::Arc, time::Duration};

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, BookingStatus, TransitionSource};
use calbridge_service::{
    Settings,
    store::{CLOCK_BOOKINGS_MAX, ClockPolicies},
};

use crate::{
    events::ending_in,
    harness::{Failure, Harness, damage, settings},
};

fn with_grace(grace: Option<Duration>) -> Settings {
    let tenants = [("patient".to_owned(), None)].into();
    Settings { clock: Arc::new(ClockPolicies { otherwise: grace, tenants }), ..settings() }
}

#[tokio::test]
async fn a_booking_is_completed_when_its_time_has_come() {
    let service = Harness::with(with_grace(Some(Duration::ZERO))).await;
    let answer = service.submit(ending_in("soon", 2_000)).await.unwrap();
    assert_eq!(answer.booking.unwrap().status(), BookingStatus::Scheduled);
    let patient = v1::BookingEvent { tenant: "patient".to_owned(), ..ending_in("later", -5_000) };
    assert_eq!(service.submit(patient).await.unwrap().booking.unwrap().status(), BookingStatus::Scheduled);
    wait::holds("the clock completes it", async || service.booking("soon").await.status() == BookingStatus::Completed)
        .await;
    let last = service.timeline("soon").await.pop().unwrap();
    assert_eq!((last.source(), last.transition.unwrap().source()), (TransitionSource::Clock, TransitionSource::Clock));
}

#[tokio::test]
async fn what_is_over_already_is_answered_so() {
    let service = Harness::with(with_grace(Some(Duration::from_mins(10)))).await;
    let answer = service.submit(ending_in("over", -601_000)).await.unwrap();
    assert_eq!(answer.booking.unwrap().status(), BookingStatus::Completed);
    let answer = service.submit(ending_in("not yet", -300_000)).await.unwrap();
    assert_eq!(answer.booking.unwrap().status(), BookingStatus::Scheduled);
}

#[tokio::test]
async fn a_booking_that_cannot_be_read_is_left_aside() {
    let service = Harness::with(with_grace(Some(Duration::ZERO))).await;
    service.control.fail(Some(Failure::DamagedForClock("damaged")));
    service.submit(ending_in("damaged", 3_000)).await.unwrap();
    service.submit(ending_in("sound", 3_000)).await.unwrap();
    wait::holds("the clock completes the other", async || {
        service.booking("sound").await.status() == BookingStatus::Completed
    })
    .await;
    assert_eq!(service.booking("damaged").await.status(), BookingStatus::Scheduled);
}

#[tokio::test]
async fn more_damaged_bookings_than_a_round_holds_stand_in_nobodys_way() {
    let service = Harness::start().await;
    for number in 0..=CLOCK_BOOKINGS_MAX {
        service.submit(ending_in(&format!("damaged{number}"), -60_000)).await.unwrap();
    }
    service.submit(ending_in("sound", -10_000)).await.unwrap();
    let folder = service.leave().await;
    damage(&folder, "uid LIKE 'damaged%'");
    let service = Harness::over(folder, with_grace(Some(Duration::ZERO))).await;
    wait::holds("the clock completes the other", async || {
        service.booking("sound").await.status() == BookingStatus::Completed
    })
    .await;
}

#[tokio::test]
async fn an_outage_delays_the_clock_and_no_more() {
    let service = Harness::with(with_grace(Some(Duration::ZERO))).await;
    service.submit(ending_in("soon", 1_000)).await.unwrap();
    service.control.fail(Some(Failure::Unavailable));
    wait::holds("the service has seen the outage", async || !service.readiness.is_ready()).await;
    service.control.fail(None);
    wait::holds("the clock completes it", async || service.booking("soon").await.status() == BookingStatus::Completed)
        .await;
}
