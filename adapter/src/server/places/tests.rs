use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::atomic::AtomicU32,
};

use tokio::time;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn from(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// Takes a place that is free, or becomes free by itself.
async fn enter(places: &Arc<Places>, peer: IpAddr) -> Place {
    time::advance(SECOND).await;
    places.take(peer, || {}).await
}

/// Takes one of places that are all taken, and says which of these made room; they leave as they are told.
async fn squeeze(places: &Arc<Places>, peer: IpAddr, holders: &mut Vec<(&'static str, Place)>) -> &'static str {
    time::advance(SECOND).await;
    let crowded = AtomicU32::new(0);
    let mut newcomer = std::pin::pin!(places.take(peer, || {
        crowded.fetch_add(1, Ordering::Relaxed);
    }));
    assert!(futures_util::poll!(newcomer.as_mut()).is_pending(), "whoever is told has not left yet");
    let told = holders.iter().position(|(_, place)| place.leave.is_cancelled()).expect("somebody is told to leave");
    let (name, place) = holders.remove(told);
    drop(place);
    holders.push(("newcomer", newcomer.await));
    assert_eq!(crowded.load(Ordering::Relaxed), 1);
    name
}

#[tokio::test(start_paused = true)]
async fn who_was_waited_for_the_longest_makes_room() {
    let places = Places::new(3, CancellationToken::new());
    let mut holders = Vec::new();
    for (name, last) in [("first", 1), ("second", 2), ("third", 3)] {
        holders.push((name, enter(&places, from(last)).await));
    }
    for answered in [0, 1] {
        time::advance(SECOND).await;
        drop(Activity::busy(&holders[answered].1.activity));
    }
    assert_eq!(squeeze(&places, from(4), &mut holders).await, "third", "the others were answered after it came");
    assert_eq!(squeeze(&places, from(5), &mut holders).await, "first");
    assert_eq!(squeeze(&places, from(6), &mut holders).await, "second");
    assert_eq!(squeeze(&places, from(7), &mut holders).await, "newcomer");
}

#[tokio::test(start_paused = true)]
async fn the_source_that_has_the_most_makes_room() {
    let places = Places::new(4, CancellationToken::new());
    let mut holders = vec![("alone", enter(&places, from(1)).await)];
    let subnet = |host: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, host));
    for (name, host) in [("one of three", 1), ("two of three", 2), ("three of three", 3)] {
        holders.push((name, enter(&places, subnet(host)).await));
    }
    assert_eq!(squeeze(&places, subnet(9), &mut holders).await, "one of three", "a /64 is one source");
    assert_eq!(squeeze(&places, from(2), &mut holders).await, "two of three");
    assert_eq!(squeeze(&places, from(3), &mut holders).await, "three of three");
    assert_eq!(squeeze(&places, from(4), &mut holders).await, "alone", "now nobody has more than another");
}

#[tokio::test(start_paused = true)]
async fn nobody_makes_room_while_a_request_is_served() {
    let places = Places::new(2, CancellationToken::new());
    let mut holders = vec![("busy", enter(&places, from(1)).await), ("waits", enter(&places, from(1)).await)];
    let served = Activity::busy(&holders[0].1.activity);
    assert_eq!(squeeze(&places, from(2), &mut holders).await, "waits");
    let other = Activity::busy(&holders[1].1.activity);
    let mut newcomer = std::pin::pin!(places.take(from(3), || {}));
    assert!(futures_util::poll!(newcomer.as_mut()).is_pending());
    assert!(holders.iter().all(|(_, place)| !place.leave.is_cancelled()));
    drop(served);
    time::advance(AGAIN).await;
    assert!(futures_util::poll!(newcomer.as_mut()).is_pending());
    let told: Vec<_> = holders.iter().filter(|(_, place)| place.leave.is_cancelled()).map(|(name, _)| *name).collect();
    assert_eq!(told, ["busy"], "it is not any more");
    holders.clear();
    newcomer.await;
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn places_are_given_back_in_any_order() {
    let places = Places::new(200, CancellationToken::new());
    let mut holders = Vec::new();
    for number in 0..200 {
        holders.push(enter(&places, from(number)).await);
    }
    for at in [0, 198, 100, 57, 0, 1] {
        drop(holders.swap_remove(at));
        holders.push(enter(&places, from(201)).await);
        let listed = places.lock();
        assert!(listed.len() == 200 && listed.iter().enumerate().all(|(at, one)| one.at.load(Ordering::Relaxed) == at));
    }
    drop(holders);
    assert!(places.lock().is_empty());
}
