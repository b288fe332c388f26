//! The payloads: for each message of the schema the `match` that says which key of Cal.com's fills which field.

mod booking;
mod form;
mod meeting;
mod no_show;
mod office;
mod person;
mod small;
mod uid;

use calbridge_proto::v1::booking_event::Payload;

pub(crate) use self::{
    booking::BookingObject,
    form::FormObject,
    meeting::MeetingObject,
    no_show::{CalVideoNoShowObject, NoShowObject},
    office::{DelegationCredentialObject, OutOfOfficeObject, WrongAssignmentObject},
    small::{InstantMeetingObject, PingObject, RecordingObject, UnknownObject},
};

/// The uid of the booking that `payload` is about; none where it names none.
#[must_use]
pub fn booking_uid(payload: &Payload) -> Option<&str> {
    let uid = match payload {
        Payload::Booking(booking) => &booking.uid,
        Payload::Meeting(meeting) => &meeting.uid,
        Payload::NoShow(no_show) => &no_show.booking_uid,
        Payload::CalVideoNoShow(no_show) => &no_show.booking_uid,
        Payload::InstantMeeting(meeting) => &meeting.uid,
        Payload::Recording(recording) => &recording.uid,
        Payload::WrongAssignment(report) => &report.booking_uid,
        Payload::Unknown(unknown) => &unknown.booking_uid,
        Payload::Form(_) | Payload::OutOfOffice(_) | Payload::DelegationCredential(_) | Payload::Ping(_) => {
            return None;
        }
    };
    Some(uid.as_str()).filter(|uid| !uid.is_empty())
}
