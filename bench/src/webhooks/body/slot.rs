//! What differs from webhook to webhook: the marker that a golden body carries in its place, and what is written there.

use std::io::Write as _;

use jiff::{SignedDuration, Timestamp, fmt::temporal::DateTimePrinter};

use crate::numbers::mix;

/// One thing that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Uid,
    MovedUid,
    BookingId,
    MovedBookingId,
    Created,
    Start,
    End,
    MovedStart,
    MovedEnd,
    HostId,
    HostName,
    HostEmail,
    HostUser,
    GuestName,
    GuestEmail,
    EventTypeId,
    EventSlug,
    EventTitle,
    Notes,
    Campaign,
    CrmId,
}

use Slot::{
    BookingId, Campaign, Created, CrmId, End, EventSlug, EventTitle, EventTypeId, GuestEmail, GuestName, HostEmail,
    HostId, HostName, HostUser, MovedBookingId, MovedEnd, MovedStart, MovedUid, Notes, Start, Uid,
};

/// None is part of another, and no golden body holds one by itself. Numbers and times stand for themselves.
pub(super) const MARKERS: [(&str, Slot); 21] = [
    ("{uid}", Uid),
    ("{moved-uid}", MovedUid),
    ("900000001", BookingId),
    ("900000002", MovedBookingId),
    ("2001-01-01T00:00:00.000", Created),
    ("2002-02-02T10:00:00", Start),
    ("2002-02-02T10:30:00", End),
    ("2003-03-03T11:00:00", MovedStart),
    ("2003-03-03T11:30:00", MovedEnd),
    ("800000001", HostId),
    ("{host-name}", HostName),
    ("{host-email}", HostEmail),
    ("{host-user}", HostUser),
    ("{guest-name}", GuestName),
    ("{guest-email}", GuestEmail),
    ("700000001", EventTypeId),
    ("{event-slug}", EventSlug),
    ("{event-title}", EventTitle),
    ("{notes}", Notes),
    ("{campaign}", Campaign),
    ("{crm-id}", CrmId),
];

pub(super) const BOOKING_ID: i64 = 900_000_001;
pub(super) const MOVED_BOOKING_ID: i64 = 900_000_002;
pub(super) const HOST_ID: i64 = 800_000_001;
pub(super) const EVENT_TYPE_ID: i64 = 700_000_001;
/// 2001-01-01T00:00:00Z.
pub(super) const CREATED: Timestamp = Timestamp::constant(978_307_200, 0);
/// 2002-02-02T10:00:00Z.
pub(super) const START: Timestamp = Timestamp::constant(1_012_644_000, 0);
/// 2003-03-03T11:00:00Z.
pub(super) const MOVED_START: Timestamp = Timestamp::constant(1_046_689_200, 0);

/// The marker of a text.
pub(super) fn marker(slot: Slot) -> &'static str {
    MARKERS.iter().find(|(_, of)| *of == slot).map_or("", |(marker, _)| marker)
}

/// Who hosts at a company that has outgrown one machine.
const HOSTS: u64 = 500;
/// What they can be booked for.
const EVENT_TYPES: u64 = 300;
/// Where the guests work.
const COMPANIES: u64 = 4_000;
/// Marketing's campaigns.
const CAMPAIGNS: u64 = 40;
/// Bookings begin on the half-hours of so many days from the next day on.
const HALF_HOURS: u64 = 180 * 48;
const LENGTH: SignedDuration = SignedDuration::from_mins(30);
const DAY: SignedDuration = SignedDuration::from_hours(24);

const UID_ALPHABET: &[u8; 58] = b"123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";
const UID_LENGTH: usize = 22;

const FIRST_NAMES: [&str; 16] = [
    "Amara", "Bruno", "Chidi", "Dalia", "Emil", "Farah", "Goran", "Hanna", "Ines", "Jonas", "Kaya", "Leif", "Mira",
    "Nadim", "Olga", "Pavel",
];
const LAST_NAMES: [&str; 16] = [
    "Abara",
    "Bergmann",
    "Costa",
    "Dvorak",
    "Eklund",
    "Fontana",
    "Garcia",
    "Halvorsen",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Petrov",
];
const SUBJECTS: [&str; 8] =
    ["First talk", "Product tour", "Quarterly review", "Onboarding", "Renewal", "Interview", "Consulting", "Check-in"];
const NOTES: [&str; 16] = [
    "We would like to see how invoices are matched.",
    "Please send the agenda a day before.",
    "Our finance lead joins for the second half.",
    "We have about forty people in three countries.",
    "The last provider lost two of our bookings.",
    "Is there a plan for schools?",
    "I am in another time zone that week.",
    "We came to you through a colleague.",
    "A short demo of the reports would help most.",
    "Please speak slowly, the line is often bad.",
    "Our contract ends in the summer.",
    "We need to know where the data lies.",
    "Two of us have used it before.",
    "Can we record the call for those who are away?",
    "It is about the offer of last month.",
    "Half an hour may be too short for everything.",
];

/// One webhook's values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values {
    pub(super) booking: u64,
    pub(super) origin: Timestamp,
    pub(super) created: Timestamp,
}

impl Values {
    pub(super) fn write(&self, slot: Slot, out: &mut Vec<u8>) {
        let booking = self.booking;
        let host = mix(booking ^ 0x686f_7374) % HOSTS;
        let event_type = mix(booking ^ 0x7479_7065) % EVENT_TYPES;
        match slot {
            Uid => uid(booking, 0, out),
            MovedUid => uid(booking, 1, out),
            BookingId => number(2_000_000 + booking * 2, out),
            MovedBookingId => number(2_000_001 + booking * 2, out),
            Created => time(self.created, 3, out),
            Start => time(self.start(0), 0, out),
            End => time(self.start(0) + LENGTH, 0, out),
            MovedStart => time(self.start(1), 0, out),
            MovedEnd => time(self.start(1) + LENGTH, 0, out),
            HostId => number(7_000 + host, out),
            HostName => full_name(host, out),
            HostEmail => address(host, host, "harbour-studio.example", out),
            HostUser => put(out, format_args!("{}-{host}", pick(&FIRST_NAMES, host).to_lowercase())),
            GuestName => full_name(mix(booking), out),
            GuestEmail => guest(booking, out),
            EventTypeId => number(300 + event_type, out),
            EventSlug => {
                let subject = pick(&SUBJECTS, event_type).to_lowercase().replace(' ', "-");
                put(out, format_args!("{subject}-{event_type}"));
            }
            EventTitle => put(out, format_args!("{} {event_type}", pick(&SUBJECTS, event_type))),
            Notes => notes(mix(booking ^ 0x6e6f_7465), out),
            Campaign => put(out, format_args!("campaign-{}", mix(booking ^ 0x6164) % CAMPAIGNS)),
            CrmId => put(out, format_args!("0065g{:013x}", mix(booking ^ 0x0063_726d) >> 12)),
        }
    }

    fn start(&self, generation: u64) -> Timestamp {
        let half_hours = mix(self.booking ^ (generation << 40) ^ 0x7768_656e) % HALF_HOURS;
        let midnight = self.origin.as_second() / 86_400 * 86_400;
        let midnight = Timestamp::from_second(midnight).unwrap_or(self.origin);
        midnight + DAY + LENGTH * i32::try_from(half_hours).unwrap_or_default()
    }
}

/// Without order, as Cal.com's are: where it lies in an index says nothing of when it came.
pub(super) fn uid(booking: u64, generation: u64, out: &mut Vec<u8>) {
    let (first, second) = (mix(booking * 2 + generation), mix(!(booking * 2 + generation)));
    let mut left = (u128::from(first) << 64) | u128::from(second);
    for _ in 0..UID_LENGTH {
        let digit = usize::try_from(left % 58).unwrap_or_default();
        out.push(UID_ALPHABET[digit]);
        left /= 58;
    }
}

fn guest(booking: u64, out: &mut Vec<u8>) {
    let company = mix(booking ^ 0x636f) % COMPANIES;
    let person = mix(booking);
    put(out, format_args!("{}.{}", pick(&FIRST_NAMES, person), pick(&LAST_NAMES, person >> 4)));
    put(out, format_args!("{booking}@company-{company}.example"));
}

fn address(person: u64, count: u64, domain: &str, out: &mut Vec<u8>) {
    let (first, last) = (pick(&FIRST_NAMES, person), pick(&LAST_NAMES, person >> 4));
    put(out, format_args!("{}.{}{count}@{domain}", first.to_lowercase(), last.to_lowercase()));
}

fn full_name(person: u64, out: &mut Vec<u8>) {
    put(out, format_args!("{} {}", pick(&FIRST_NAMES, person), pick(&LAST_NAMES, person >> 4)));
}

/// A sentence, or two: they stand in a body three times.
fn notes(choice: u64, out: &mut Vec<u8>) {
    for sentence in 0..=choice >> 60 & 1 {
        let space = if sentence == 0 { "" } else { " " };
        put(out, format_args!("{space}{}", pick(&NOTES, choice >> (sentence * 8))));
    }
}

fn pick<'a>(from: &[&'a str], choice: u64) -> &'a str {
    from[usize::try_from(choice).unwrap_or_default() % from.len()]
}

fn number(number: u64, out: &mut Vec<u8>) {
    put(out, format_args!("{number}"));
}

fn time(time: Timestamp, digits: u8, out: &mut Vec<u8>) {
    // Into a Vec nothing fails; the zone's letter is part of the template.
    let printer = DateTimePrinter::new().precision(Some(digits));
    if printer.print_timestamp(&time, &mut *out).is_ok() {
        out.pop();
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Into a Vec nothing fails.
    let _ = out.write_fmt(text);
}
