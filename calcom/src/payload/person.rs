//! Hosts, attendees, guests and teams.

use calbridge_proto::v1::{PersonPayload, TeamPayload};
use serde::de::MapAccess;

use crate::lenient::{Object, Slot};

/// A host or an attendee. One of whom nothing is said is none.
#[derive(Default)]
pub(crate) struct PersonObject {
    person: PersonPayload,
    /// `locale` of a row that leaked, beside or instead of `language.locale`.
    locale: String,
}

impl<'de> Object<'de> for PersonObject {
    type Message = PersonPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let person = &mut self.person;
        match key {
            "id" => person.id = slot.int()?,
            "email" => person.email = slot.text()?,
            "name" => person.name = slot.text()?,
            "username" => person.username = slot.text()?,
            "timeZone" => person.time_zone = slot.text()?,
            "language" => person.language = slot.read::<Language>()?.unwrap_or_default(),
            "locale" => self.locale = slot.text()?,
            "utcOffset" => person.utc_offset_minutes = slot.int()?,
            "phoneNumber" => person.phone_number = slot.text()?,
            "noShow" => person.no_show = slot.flag()?,
            "bookingSeat" => person.seat_uid = slot.read::<Seat>()?.unwrap_or_default(),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<PersonPayload> {
        if self.person.language.is_empty() {
            self.person.language = self.locale;
        }
        (self.person != PersonPayload::default()).then_some(self.person)
    }
}

/// A person where some paths write the e-mail address alone.
#[derive(Default)]
pub(crate) struct GuestObject(PersonObject);

impl<'de> Object<'de> for GuestObject {
    type Message = PersonPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        self.0.field(key, slot)
    }

    fn finish(self) -> Option<PersonPayload> {
        self.0.finish()
    }

    fn from_text(text: &str) -> Option<PersonPayload> {
        (!text.is_empty()).then(|| PersonPayload { email: text.to_owned(), ..PersonPayload::default() })
    }
}

/// `language`: `{locale}`, or the locale alone.
#[derive(Default)]
struct Language {
    locale: String,
}

impl<'de> Object<'de> for Language {
    type Message = String;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "locale" => self.locale = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        Some(self.locale)
    }

    fn from_text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
}

/// `bookingSeat`: the row of an attendee's seat.
#[derive(Default)]
struct Seat {
    reference_uid: String,
}

impl<'de> Object<'de> for Seat {
    type Message = String;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "referenceUid" => self.reference_uid = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        Some(self.reference_uid)
    }
}

/// The e-mail address of somebody who joined a video call: a string, or an entry of the call's log.
#[derive(Default)]
pub(crate) struct Participant {
    email: String,
    user_name: String,
}

impl<'de> Object<'de> for Participant {
    type Message = String;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "email" => self.email = slot.text()?,
            "user_name" => self.user_name = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        // The log's own `user_name` is an address for those who were asked for one, and else whatever they typed.
        [self.email, self.user_name].into_iter().find(|name| name.contains('@'))
    }

    fn from_text(text: &str) -> Option<String> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// `team`. One of which nothing is said is none.
#[derive(Default)]
pub(crate) struct TeamObject(TeamPayload);

impl<'de> Object<'de> for TeamObject {
    type Message = TeamPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "id" => self.0.id = slot.int()?,
            "name" => self.0.name = slot.text()?,
            "members" => self.0.members = slot.list::<PersonObject, _>()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<TeamPayload> {
        (self.0 != TeamPayload::default()).then_some(self.0)
    }
}
