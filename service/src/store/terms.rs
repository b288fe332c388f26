//! What bookings are found by: that they are there at all, their status, organizer and event type, who is invited, and
//! the booker's own keys. A term is a number of 64 bits that stands for one such pair in one tenant; whoever finds a
//! booking by it looks at the booking as well, so two pairs of one number do no harm.

use std::collections::BTreeSet;

use calbridge_proto::v1::Booking;
use sha2::{Digest, Sha256};

/// The longest text that a term is made of, in bytes: more of a value would only be read to be found by nobody.
const TEXT_BYTES_MAX: usize = 1024;

/// The terms of what a booking has several of.
pub(crate) fn of(tenant: &str, booking: &Booking) -> BTreeSet<i64> {
    let attendees = booking.attendees.iter().map(|person| attendee(tenant, &person.email));
    let metadata = booking.metadata.iter().map(|(key, value)| self::metadata(tenant, key, value));
    attendees.chain(metadata).collect()
}

/// The terms of what a booking has one of each: that it is shown at all, its status, organizer and event type.
pub(crate) fn of_columns(tenant: &str, booking: &Booking) -> BTreeSet<i64> {
    let organizer = booking.organizer.as_ref().map(|organizer| self::organizer(tenant, &organizer.email));
    let event_type = booking.event_type_id.map(|id| self::event_type(tenant, id));
    [Some(all(tenant)), Some(status(tenant, booking.status)), organizer, event_type].into_iter().flatten().collect()
}

/// The term of all of a tenant's bookings.
pub(crate) fn all(tenant: &str) -> i64 {
    term(&[tenant, "all"])
}

/// The term of bookings that stand so; a `BookingStatus`.
pub(crate) fn status(tenant: &str, status: i32) -> i64 {
    term(&[tenant, "status", &status.to_string()])
}

/// The term of bookings that are held by this address, however it is spelled.
pub(crate) fn organizer(tenant: &str, email: &str) -> i64 {
    term(&[tenant, "organizer", &email.trim().to_lowercase()])
}

/// The term of bookings of an event type.
pub(crate) fn event_type(tenant: &str, id: i64) -> i64 {
    term(&[tenant, "event_type", &id.to_string()])
}

/// The term of bookings to which this address is invited, however it is spelled.
pub(crate) fn attendee(tenant: &str, email: &str) -> i64 {
    term(&[tenant, "attendee", &email.trim().to_lowercase()])
}

/// The term of bookings whose metadata have this value under this key.
pub(crate) fn metadata(tenant: &str, key: &str, value: &str) -> i64 {
    term(&[tenant, "metadata", key, value])
}

/// It is stored: what it is made of must never change.
fn term(parts: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        let text = &part[..part.floor_char_boundary(TEXT_BYTES_MAX)];
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1::Attendee;

    use super::*;

    #[test]
    fn a_booking_is_found_by_each_attendee_and_each_key() {
        let person = |email: &str| Attendee { email: email.to_owned(), ..Attendee::default() };
        let booking = Booking {
            attendees: vec![person("A@x.example"), person("b@x.example"), person("a@x.example")],
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            ..Booking::default()
        };
        let expected = [attendee("t", "a@X.example"), attendee("t", " b@x.example"), metadata("t", "k", "v")]
            .into_iter()
            .collect();
        assert_eq!(of("t", &booking), expected);
        assert!(of("other", &booking).is_disjoint(&expected));
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        assert_ne!(metadata("t", "ab", "c"), metadata("t", "a", "bc"));
        assert_ne!(metadata("t", "k", "v"), metadata("t", "k", "w"));
        assert_eq!(metadata("t", "k", &"v".repeat(2_000)), metadata("t", "k", &"v".repeat(3_000)));
    }

    #[test]
    fn a_stored_term_stays_what_it_is() {
        assert_eq!(attendee("acme", "a@x.example"), 4_889_728_957_741_559_627);
    }
}
