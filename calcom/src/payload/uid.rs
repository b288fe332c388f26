//! Where a payload names its booking: `uid`, `bookingUid` or `booking.uid`, by trigger and path.

use serde::de::MapAccess;

use crate::lenient::{Object, Slot};

/// The names seen so far.
#[derive(Default)]
pub(crate) struct Uids {
    uid: String,
    booking_uid: String,
    booking: String,
}

impl Uids {
    /// Takes one of the three keys.
    pub(crate) fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "uid" => self.uid = slot.text()?,
            "bookingUid" => self.booking_uid = slot.text()?,
            "booking" => self.booking = slot.read::<BookingRef>()?.unwrap_or_default().uid,
            _ => slot.skip()?,
        }
        Ok(())
    }

    /// The first of `uid`, `bookingUid` and `booking.uid` that names anything.
    pub(crate) fn uid_first(self) -> String {
        [self.uid, self.booking_uid, self.booking].into_iter().find(|uid| !uid.is_empty()).unwrap_or_default()
    }

    /// The same, where `bookingUid` is the key that the path has.
    pub(crate) fn booking_uid_first(mut self) -> String {
        if self.booking_uid.is_empty() { self.uid_first() } else { std::mem::take(&mut self.booking_uid) }
    }
}

/// `booking` of a payload that is not itself the booking.
#[derive(Default)]
pub(crate) struct BookingRef {
    pub(crate) uid: String,
    pub(crate) id: Option<i64>,
    pub(crate) title: String,
}

impl<'de> Object<'de> for BookingRef {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "uid" => self.uid = slot.text()?,
            "id" => self.id = slot.int()?,
            "title" => self.title = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}
