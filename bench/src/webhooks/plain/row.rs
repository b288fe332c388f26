//! What one webhook becomes: a row of each table, and a body.

use calbridge_proto::v1::{
    Booking, BookingEvent, BookingStatus, Organizer, PersonPayload, Transition, Trigger, booking_event::Payload,
};
use prost::Message;
use prost_types::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The fastest level, and the dictionary that calbridge's own bodies are packed with.
const LEVEL: i32 = 1;
const DICTIONARY: &[u8] = include_bytes!("../../../../service/src/store/pack/bodies.zdict");

/// A webhook that is about one booking.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) delivery_id: Uuid,
    /// SHA-256 of the body: the delivery's identity within its tenant.
    pub(super) key: [u8; 32],
    /// Leads the unique key, so that new ones lie side by side; microseconds, as all times here.
    pub(super) created_at: i64,
    pub(super) event: BookingEvent,
    pub(super) receive_time: i64,
    pub(super) booking: Columns,
    /// The booking as it was last told: the payload.
    pub(super) state: Vec<u8>,
}

/// What finds and orders bookings.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) uid: String,
    pub(super) status: i32,
    pub(super) start_time: i64,
    pub(super) end_time: i64,
    pub(super) organizer: String,
    pub(super) event_type_id: Option<i64>,
    pub(super) title: String,
}

impl Row {
    /// Nothing of a webhook that is about no booking: it is not what the bench sends.
    pub(super) fn of(event: BookingEvent) -> Option<Self> {
        let status = status(event.trigger()).into();
        let (booking, state) = match event.payload.as_ref()? {
            Payload::Booking(told) => {
                let times = (told.start_time.as_ref(), told.end_time.as_ref());
                let columns = Columns::of(&told.uid, &told.title, times, told.organizer.as_ref());
                (Columns { status, event_type_id: told.event_type_id, ..columns }, told.encode_to_vec())
            }
            Payload::Meeting(told) => {
                let times = (told.start_time.as_ref(), told.end_time.as_ref());
                let columns = Columns::of(&told.uid, &told.title, times, told.organizer.as_ref());
                (Columns { status, event_type_id: told.event_type_id, ..columns }, told.encode_to_vec())
            }
            _ => return None,
        };
        Some(Self {
            delivery_id: Uuid::try_parse(&event.request_id).ok()?,
            key: Sha256::digest(&event.raw_body).into(),
            created_at: micros(event.event_time.as_ref()),
            receive_time: micros(event.receive_time.as_ref()),
            booking,
            state,
            event,
        })
    }

    /// The change for the log.
    pub(super) fn change(&self, from: i32) -> Vec<u8> {
        let Columns { uid, status, organizer, title, .. } = &self.booking;
        let organizer = Organizer { email: organizer.clone(), ..Organizer::default() };
        Transition {
            tenant: self.event.tenant.clone(),
            uid: uid.clone(),
            delivery_id: self.delivery_id.to_string(),
            trigger: self.event.trigger,
            from_status: from,
            to_status: *status,
            event_time: self.event.event_time,
            commit_time: self.event.receive_time,
            booking: Some(Booking {
                uid: uid.clone(),
                status: *status,
                title: title.clone(),
                organizer: Some(organizer),
                ..Booking::default()
            }),
            ..Transition::default()
        }
        .encode_to_vec()
    }
}

impl Columns {
    fn of(
        uid: &str,
        title: &str,
        (start, end): (Option<&Timestamp>, Option<&Timestamp>),
        organizer: Option<&PersonPayload>,
    ) -> Self {
        Self {
            uid: uid.to_owned(),
            start_time: micros(start),
            end_time: micros(end),
            organizer: organizer.map(|organizer| organizer.email.to_lowercase()).unwrap_or_default(),
            title: title.to_owned(),
            ..Self::default()
        }
    }
}

/// The last word holds, whatever came before it.
fn status(trigger: Trigger) -> BookingStatus {
    match trigger {
        Trigger::BookingRequested => BookingStatus::Requested,
        Trigger::BookingCancelled => BookingStatus::Cancelled,
        Trigger::BookingRejected => BookingStatus::Rejected,
        Trigger::MeetingStarted => BookingStatus::InProgress,
        Trigger::MeetingEnded => BookingStatus::Completed,
        _ => BookingStatus::Scheduled,
    }
}

/// Packs bodies.
pub(super) struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(zstd::bulk::Compressor::with_dictionary(LEVEL, DICTIONARY)?))
    }

    pub(super) fn pack(&mut self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.0.compress(body)?)
    }
}

/// Zero where there is none.
fn micros(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos / 1_000))
}
