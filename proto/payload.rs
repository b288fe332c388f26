//! What can be asked of every payload alike.

use crate::v1::booking_event::Payload;

impl Payload {
    /// The uid of the booking that the payload is about; `None` where it names none.
    #[must_use]
    pub fn booking_uid(&self) -> Option<&str> {
        let uid = match self {
            Self::Booking(payload) => &payload.uid,
            Self::Meeting(payload) => &payload.uid,
            Self::NoShow(payload) => &payload.booking_uid,
            Self::CalVideoNoShow(payload) => &payload.booking_uid,
            Self::InstantMeeting(payload) => &payload.uid,
            Self::Recording(payload) => &payload.uid,
            Self::WrongAssignment(payload) => &payload.booking_uid,
            Self::Unknown(payload) => &payload.booking_uid,
            Self::Form(_) | Self::OutOfOffice(_) | Self::DelegationCredential(_) | Self::Ping(_) => return None,
        };
        Some(uid.as_str()).filter(|uid| !uid.is_empty())
    }
}
