use super::*;

fn known(uid: &str, status: BookingStatus) -> Known {
    Known {
        uid: uid.to_owned(),
        status,
        title: format!("title of {uid}"),
        time: Some((format!("start of {uid}"), format!("end of {uid}"))),
        accepted_at: is_accepted(status).then(|| format!("{uid} was accepted")),
        ended_at: is_ended(status).then(|| format!("{uid} was ended")),
        sequence: None,
        contact: None,
        found_contact: None,
        from: None,
        to: None,
    }
}

fn accepted(booking: Known) -> Known {
    Known { accepted_at: Some(format!("{} was accepted", booking.uid)), ..booking }
}

fn after(from: &str, booking: Known) -> Known {
    Known { from: Some(from.to_owned()), ..booking }
}

fn one(bookings: &[Known]) -> Meeting {
    let mut found = meetings(bookings);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_nobody_accepted_is_no_meeting() {
    use BookingStatus::{AwaitingHost, Cancelled, Rejected, Requested, Rescheduled};
    for status in [Requested, AwaitingHost, Cancelled, Rejected, Rescheduled] {
        assert_eq!(meetings(&[known("a", status)]), [], "{status:?}");
    }
}

#[test]
fn whether_people_came_is_nothing_to_it() {
    use BookingStatus::{Completed, InProgress, NoShow, Scheduled};
    for status in [Scheduled, InProgress, Completed, NoShow] {
        let meeting = one(&[known("a", status)]);
        assert_eq!((meeting.booking.as_str(), meeting.undone_at), ("a", None), "{status:?}");
    }
}

#[test]
fn a_successor_takes_over_whichever_of_the_two_says_so() {
    let (old, new) = (known("a", BookingStatus::Scheduled), known("b", BookingStatus::Scheduled));
    let replaced = Known { to: Some("b".to_owned()), ..accepted(known("a", BookingStatus::Rescheduled)) };
    for bookings in [[old, after("a", new.clone())], [replaced.clone(), new.clone()], [replaced, after("a", new)]] {
        let meeting = one(&bookings);
        assert_eq!((meeting.name.as_str(), meeting.booking.as_str(), meeting.undone_at), ("a", "b", None));
        assert_eq!(meeting.booked_at, "a was accepted");
    }
}

#[test]
fn a_meeting_on_its_way_stays_where_it_was() {
    let old = accepted(known("a", BookingStatus::Rescheduled));
    for bookings in [vec![old.clone()], vec![old.clone(), after("a", known("b", BookingStatus::Requested))]] {
        let meeting = one(&bookings);
        assert_eq!((meeting.booking.as_str(), meeting.undone_at), ("a", None));
    }
    let refused = one(&[old, after("a", known("b", BookingStatus::Rejected))]);
    assert_eq!((refused.booking.as_str(), refused.undone_at.as_deref()), ("a", Some("b was ended")));
}

#[test]
fn the_end_of_a_booking_that_was_replaced_ends_nothing() {
    let meeting =
        one(&[accepted(known("a", BookingStatus::Cancelled)), after("a", known("b", BookingStatus::Scheduled))]);
    assert_eq!((meeting.booking.as_str(), meeting.undone_at), ("b", None));
}

#[test]
fn whom_it_is_for_the_earliest_says() {
    let old = Known { found_contact: Some("found".to_owned()), ..known("a", BookingStatus::Scheduled) };
    let new = Known { sequence: Some("s".to_owned()), ..known("b", BookingStatus::Scheduled) };
    let meeting = one(&[after("a", new.clone()), old.clone()]);
    assert_eq!((meeting.sequence.as_deref(), meeting.contact.as_deref()), (Some("s"), Some("found")));
    let named = Known { contact: Some("named".to_owned()), ..new };
    assert_eq!(one(&[old, after("a", named)]).contact.as_deref(), Some("named"));
}

#[test]
fn two_successors_of_a_booking_that_nobody_heard_of_are_one_meeting() {
    let both = [after("x", known("b", BookingStatus::Scheduled)), after("x", known("c", BookingStatus::Scheduled))];
    assert_eq!(one(&both).booking, "c");
    let apart = [known("b", BookingStatus::Scheduled), known("c", BookingStatus::Scheduled)];
    assert_eq!(meetings(&apart).len(), 2);
}

#[test]
fn a_cycle_ends() {
    let (a, b) = (after("b", known("a", BookingStatus::Scheduled)), after("a", known("b", BookingStatus::Scheduled)));
    let meeting = one(&[b, a]);
    // Each was replaced by the other: nothing says which of the two stands, so the last is as good.
    assert_eq!((meeting.name.as_str(), meeting.booking.as_str()), ("a", "b"));
}
