//! The payloads: for each message of the schema the `match` that says which key of Cal.com's fills which field.

mod booking;
mod form;
mod meeting;
mod no_show;
mod office;
mod person;
mod small;
mod uid;

pub(crate) use self::{
    booking::BookingObject,
    form::FormObject,
    meeting::MeetingObject,
    no_show::{CalVideoNoShowObject, NoShowObject},
    office::{DelegationCredentialObject, OutOfOfficeObject, WrongAssignmentObject},
    small::{InstantMeetingObject, PingObject, RecordingObject, UnknownObject},
};
