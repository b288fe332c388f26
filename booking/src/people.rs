//! Who hosts, who is invited, and which seats stand, read off the registers of a row.
//!
//! Invariant: people are told apart by e-mail address without case; the order in which they show is a function of the
//! row (the newest list's order, else that of the addresses).

use std::collections::{BTreeMap, BTreeSet};

use calbridge_proto::v1::{Attendee, Organizer};

use crate::{
    register::{Detail, Email, Entry, Field, Key, Role, Stamp, Value},
    row::{MAX_SEATS, Row},
};

/// Who is invited, and what is known about that.
pub(crate) struct Invited {
    pub(crate) attendees: Vec<Attendee>,
    /// A list or a seat was told. A no-show mark alone names a person, not the attendees.
    pub(crate) known: bool,
    /// Seats were taken once and none stands now, of as many as a row has: one that is full of given up seats may have
    /// no room for one that stands.
    pub(crate) no_seat_left: bool,
}

pub(crate) fn invited(row: &Row) -> Invited {
    if let Some((taken, seats)) = standing_seats(row) {
        let attendees: Vec<_> = seats.into_iter().map(|(email, id)| attendee(row, email, id)).collect();
        return Invited { no_seat_left: attendees.is_empty() && taken < MAX_SEATS, known: true, attendees };
    }
    let list = list(row, Field::Attendees);
    let listed: BTreeSet<&Email> = list.iter().collect();
    // Of a seat that was never seen taken the leaving may be known.
    let besides = marked(row, Role::Attendee)
        .filter(|(email, mark)| !listed.contains(email) && stands(row, email, &mark.stamp))
        .map(|(email, _)| email);
    let told = row.field(Field::Attendees);
    let stay = list.iter().filter(|email| told.is_some_and(|told| stands(row, email, &told.stamp)));
    let all: Vec<&Email> = stay.chain(besides).collect();
    let attendees = guests(row, list.first(), all).into_iter().map(|email| attendee(row, email, "")).collect();
    Invited { attendees, known: !list.is_empty(), no_seat_left: false }
}

/// Without members of the team, which Cal.com may list among the attendees: they are hosts, and whether they come says
/// nothing of who was invited. The first of a list is whoever booked, a member too. A booking among members alone has
/// them for its guests.
fn guests<'r>(row: &'r Row, booker: Option<&Email>, all: Vec<&'r Email>) -> Vec<&'r Email> {
    let team: BTreeSet<&Email> = list(row, Field::Team).iter().collect();
    let is_guest = |email: &Email| Some(email) == booker || !team.contains(email);
    let guests: Vec<_> = all.iter().copied().filter(|email| is_guest(email)).collect();
    if guests.is_empty() { all } else { guests }
}

/// The organizer, if known, and all hosts, each once: the organizer first, then the team, then whoever a no-show mark
/// names besides.
pub(crate) fn hosts(row: &Row) -> (Option<Organizer>, Vec<Organizer>) {
    let organizer = match row.field(Field::Organizer).map(|entry| &entry.value) {
        Some(Value::Text(email)) => Some(Email::from_stored(email)),
        _ => None,
    };
    let mut known = BTreeSet::new();
    let told = organizer.iter().chain(list(row, Field::Team)).chain(marked(row, Role::Host).map(|(email, _)| email));
    let hosts: Vec<_> = told.filter(|email| known.insert(*email)).map(|email| host(row, email)).collect();
    (organizer.map(|email| host(row, &email)), hosts)
}

/// How many seats were taken, and those that stand, by address, then by id; `None` where no seat was ever taken, or
/// nothing says that there are any. An adding without an id shows only where its address has no standing seat with one:
/// it speaks of the same seat.
fn standing_seats(row: &Row) -> Option<(usize, Vec<(&Email, &str)>)> {
    row.field(Field::SeatsPerTimeSlot)?;
    let mut by_email: BTreeMap<&Email, Vec<&str>> = BTreeMap::new();
    let mut taken = 0;
    for (key, entry) in row.registers() {
        let Key::SeatTaken(email, id) = key else { continue };
        if entry.value == Value::LET_IN && list(row, Field::Team).contains(email) {
            // Let in with the guests, and a host all the same.
            continue;
        }
        taken += 1;
        if stands(row, email, &entry.stamp) {
            by_email.entry(email).or_default().push(id);
        }
    }
    let seats = by_email.into_iter().flat_map(|(email, ids)| {
        let named = ids.iter().any(|id| !id.is_empty());
        ids.into_iter().filter(move |id| !named || !id.is_empty()).map(move |id| (email, id))
    });
    (taken > 0).then(|| (taken, seats.collect()))
}

/// A seat stands while its newest adding is later than the newest leaving of its address: it can be taken again. So
/// does a name on a list that is later.
fn stands(row: &Row, email: &Email, taken: &Stamp) -> bool {
    row.get(&Key::SeatLeft(email.clone())).is_none_or(|left| taken.time > left.stamp.time)
}

/// Whom a no-show mark names, set or taken back.
fn marked(row: &Row, role: Role) -> impl Iterator<Item = (&Email, &Entry)> {
    row.registers().filter_map(move |(key, entry)| match key {
        Key::NoShow(of, email) if *of == role => Some((email, entry)),
        _ => None,
    })
}

fn list(row: &Row, field: Field) -> &[Email] {
    match row.field(field).map(|entry| &entry.value) {
        Some(Value::People(people)) => people,
        _ => &[],
    }
}

fn attendee(row: &Row, email: &Email, seat: &str) -> Attendee {
    let person = Person::of(row, Role::Attendee, email);
    Attendee {
        email: person.spelling(),
        name: person.text(Detail::Name),
        time_zone: person.text(Detail::TimeZone),
        language: person.text(Detail::Language),
        utc_offset_minutes: person.number(Detail::UtcOffset).and_then(|minutes| i32::try_from(minutes).ok()),
        phone_number: person.text(Detail::PhoneNumber),
        seat_uid: seat.to_owned(),
        no_show: person.no_show,
    }
}

fn host(row: &Row, email: &Email) -> Organizer {
    let person = Person::of(row, Role::Host, email);
    Organizer {
        id: person.number(Detail::Id),
        email: person.spelling(),
        name: person.text(Detail::Name),
        username: person.text(Detail::Username),
        time_zone: person.text(Detail::TimeZone),
        language: person.text(Detail::Language),
        no_show: person.no_show,
    }
}

/// A person as one role's registers tell it.
struct Person<'a> {
    email: &'a Email,
    details: [Option<&'a Value>; Detail::ALL.len()],
    no_show: bool,
}

impl<'a> Person<'a> {
    fn of(row: &'a Row, role: Role, email: &'a Email) -> Self {
        let mut details = [None; Detail::ALL.len()];
        // A person's details stand side by side: one search finds them all.
        for (key, entry) in row.registers_from(&Key::Person(role, email.clone(), Detail::Spelling)) {
            match key {
                Key::Person(of, whom, detail) if *of == role && whom == email => {
                    details[*detail as usize] = Some(&entry.value);
                }
                _ => break,
            }
        }
        Self { email, details, no_show: is_missing(row, role, email) }
    }

    fn text(&self, detail: Detail) -> String {
        if let Some(Value::Text(text)) = self.details[detail as usize] { text.clone() } else { String::new() }
    }

    fn number(&self, detail: Detail) -> Option<i64> {
        if let Some(Value::Number(number)) = self.details[detail as usize] { Some(*number) } else { None }
    }

    fn spelling(&self) -> String {
        let spelled = self.text(Detail::Spelling);
        if spelled.is_empty() { self.email.as_str().to_owned() } else { spelled }
    }
}

/// Whoever gave up a seat takes no mark along to the next one.
fn is_missing(row: &Row, role: Role, email: &Email) -> bool {
    let Some(mark) = row.get(&Key::NoShow(role, email.clone())) else { return false };
    let later = |left: &Entry| mark.stamp.time > left.stamp.time;
    let counts = role == Role::Host || row.get(&Key::SeatLeft(email.clone())).is_none_or(later);
    counts && mark.value == Value::Flag(true)
}
