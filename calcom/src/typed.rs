//! From a verified body to the fields of a `BookingEvent`: which payload a trigger has, and where it stands.

use calbridge_proto::v1::{BookingEvent, Trigger, booking_event::Payload};

use crate::{
    envelope::{self, Envelope},
    lenient::{Object, from_json},
    payload::{
        BookingObject, CalVideoNoShowObject, DelegationCredentialObject, FormObject, InstantMeetingObject,
        MeetingObject, NoShowObject, OutOfOfficeObject, PingObject, RecordingObject, UnknownObject,
        WrongAssignmentObject,
    },
    surrogate,
};

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Typed {
    /// The trigger, as far as the schema knows it.
    pub trigger: Trigger,
    /// `triggerEvent` as sent, cut at 128 bytes; empty where the body names none.
    pub trigger_name: String,
    /// The envelope's `createdAt`. A flat `MEETING_STARTED` or `MEETING_ENDED` has none: its `createdAt` is its row's.
    pub event_time: Option<prost_types::Timestamp>,
    /// The typed payload; none means *unparsed*.
    pub payload: Option<Payload>,
}

impl Typed {
    /// Fills `event`'s trigger, trigger name, event time and payload, whatever stood there.
    pub fn into_event(self, event: &mut BookingEvent) {
        event.trigger = self.trigger.into();
        event.trigger_name = self.trigger_name;
        event.event_time = self.event_time;
        event.payload = self.payload;
    }
}

/// What a verified body says. `raw` may be anything at all: what is no JSON object in Cal.com's envelope, such as the
/// text of a custom template, is unparsed. Content type and other headers play no part.
#[must_use]
pub fn type_body(raw: &[u8]) -> Typed {
    let Ok(text) = str::from_utf8(raw) else {
        return Typed::default();
    };
    let text = surrogate::well_formed(text);
    let Ok(Some(envelope)) = from_json::<Envelope<'_>>(&text) else {
        return Typed::default();
    };
    let trigger = envelope.trigger();
    let (event_time, payload) = match (trigger, envelope.payload) {
        (_, Some(payload)) => (envelope.created_at, typed_payload(trigger, payload, true)),
        // The only triggers whose payload is the whole body. Anything else without a payload is a template.
        (Trigger::MeetingStarted | Trigger::MeetingEnded, None) => (None, typed_payload(trigger, &text, false)),
        (_, None) => (None, None),
    };
    let mut trigger_name = envelope.trigger_name;
    envelope::cut(&mut trigger_name);
    if trigger_name.is_empty() || payload.is_none() {
        return Typed { trigger, trigger_name, ..Typed::default() };
    }
    Typed { trigger, trigger_name, event_time, payload }
}

/// The payload that `trigger` has, from the text of the object that holds its fields.
fn typed_payload(trigger: Trigger, json: &str, enveloped: bool) -> Option<Payload> {
    match trigger {
        Trigger::BookingCreated
        | Trigger::BookingRequested
        | Trigger::BookingRescheduled
        | Trigger::BookingCancelled
        | Trigger::BookingRejected
        | Trigger::BookingPaymentInitiated
        | Trigger::BookingPaid
        | Trigger::BookingLocationUpdated
        | Trigger::BookingReassigned
        | Trigger::InstantMeetingAccepted => read::<BookingObject>(json).map(Payload::Booking),
        Trigger::MeetingStarted | Trigger::MeetingEnded => {
            let mut meeting = read::<MeetingObject>(json)?;
            meeting.enveloped = enveloped;
            Some(Payload::Meeting(meeting))
        }
        Trigger::BookingNoShowUpdated => read::<NoShowObject>(json).map(Payload::NoShow),
        Trigger::AfterHostsCalVideoNoShow | Trigger::AfterGuestsCalVideoNoShow => {
            read::<CalVideoNoShowObject>(json).map(Payload::CalVideoNoShow)
        }
        Trigger::InstantMeeting => read::<InstantMeetingObject>(json).map(Payload::InstantMeeting),
        Trigger::RecordingReady | Trigger::RecordingTranscriptionGenerated => {
            read::<RecordingObject>(json).map(Payload::Recording)
        }
        Trigger::FormSubmitted | Trigger::FormSubmittedNoEvent | Trigger::RoutingFormFallbackHit => {
            read::<FormObject>(json).map(Payload::Form)
        }
        Trigger::OooCreated => read::<OutOfOfficeObject>(json).map(Payload::OutOfOffice),
        Trigger::DelegationCredentialError
        | Trigger::DelegationCredentialSecretRotated
        | Trigger::DelegationCredentialSecretRotationFailed
        | Trigger::DelegationCredentialRotationRequired => {
            read::<DelegationCredentialObject>(json).map(Payload::DelegationCredential)
        }
        Trigger::WrongAssignmentReport => read::<WrongAssignmentObject>(json).map(Payload::WrongAssignment),
        Trigger::Ping => read::<PingObject>(json).map(Payload::Ping),
        Trigger::Unspecified => read::<UnknownObject>(json).map(Payload::Unknown),
    }
}

fn read<'de, T: Object<'de>>(json: &'de str) -> Option<T::Message> {
    from_json::<T>(json).ok().flatten()
}

#[cfg(test)]
mod tests;
