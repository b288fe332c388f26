//! From a verified body to the fields of a `BookingEvent`: which payload a trigger has, and where it stands.

use calbridge_proto::v1::{BookingEvent, MeetingPayload, Trigger, booking_event::Payload};
use serde::de::{Error as _, MapAccess};

use crate::{
    envelope::{self, CREATED_AT, Envelope, PAYLOAD, TRIGGER_EVENT},
    lenient::{Object, Slot, StrictText, from_json},
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
    in_order(&text).unwrap_or_else(|| in_any_order(&text))
}

/// What a body says that has its trigger before its payload, as Cal.com writes it: then it is known what the payload is
/// when it comes, and one pass reads all. None where the body is otherwise.
fn in_order(text: &str) -> Option<Typed> {
    from_json::<InOrder>(text).ok().flatten()
}

/// What any body says. Its payload is passed by first and read when all that stands round it is known.
fn in_any_order(text: &str) -> Typed {
    let Ok(Some(envelope)) = from_json::<Envelope<'_>>(text) else {
        return Typed::default();
    };
    let trigger = envelope.trigger();
    let (event_time, payload) = match (trigger, envelope.payload) {
        (_, Some(payload)) => (envelope.created_at, typed_payload(trigger, payload, true).ok().flatten()),
        // The only triggers whose payload is the whole body. Anything else without a payload is a template.
        (Trigger::MeetingStarted | Trigger::MeetingEnded, None) => {
            (None, typed_payload(trigger, text, false).ok().flatten())
        }
        (_, None) => (None, None),
    };
    let mut trigger_name = envelope.trigger_name;
    envelope::cut(&mut trigger_name);
    if trigger_name.is_empty() || payload.is_none() {
        return Typed { trigger, trigger_name, ..Typed::default() };
    }
    Typed { trigger, trigger_name, event_time, payload }
}

/// An envelope that says what its payload is before it comes.
#[derive(Default)]
struct InOrder(Typed);

impl<'de> Object<'de> for InOrder {
    type Message = Typed;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let Self(typed) = self;
        match key {
            CREATED_AT => typed.event_time = slot.time()?,
            TRIGGER_EVENT if typed.payload.is_none() => {
                typed.trigger_name = slot.read::<StrictText>()?.unwrap_or_default();
                typed.trigger = envelope::trigger(&typed.trigger_name);
            }
            PAYLOAD if typed.payload.is_none() && !typed.trigger_name.is_empty() => {
                typed.payload = typed_payload(typed.trigger, slot, true)?;
                if typed.payload.is_none() {
                    return Err(A::Error::custom("no payload of this trigger"));
                }
            }
            // The last one counts.
            TRIGGER_EVENT | PAYLOAD => return Err(A::Error::custom("another order")),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Typed> {
        let Self(mut typed) = self;
        envelope::cut(&mut typed.trigger_name);
        typed.payload.is_some().then_some(typed)
    }
}

/// Where the object stands that holds a payload's fields.
trait Source<'de> {
    type Error;

    /// Reads it; none where something else stands there, or where it says nothing.
    fn read<T: Object<'de>>(self) -> Result<Option<T::Message>, Self::Error>;
}

/// By itself.
impl<'de> Source<'de> for &'de str {
    type Error = serde_json::Error;

    fn read<T: Object<'de>>(self) -> Result<Option<T::Message>, Self::Error> {
        from_json::<T>(self)
    }
}

/// Within its envelope.
impl<'de, A: MapAccess<'de>> Source<'de> for Slot<'_, A> {
    type Error = A::Error;

    fn read<T: Object<'de>>(self) -> Result<Option<T::Message>, Self::Error> {
        self.read::<T>()
    }
}

/// The payload that `trigger` has.
fn typed_payload<'de, S: Source<'de>>(
    trigger: Trigger,
    source: S,
    enveloped: bool,
) -> Result<Option<Payload>, S::Error> {
    Ok(match trigger {
        Trigger::BookingCreated
        | Trigger::BookingRequested
        | Trigger::BookingRescheduled
        | Trigger::BookingCancelled
        | Trigger::BookingRejected
        | Trigger::BookingPaymentInitiated
        | Trigger::BookingPaid
        | Trigger::BookingLocationUpdated
        | Trigger::BookingReassigned
        | Trigger::InstantMeetingAccepted => source.read::<BookingObject>()?.map(Payload::Booking),
        Trigger::MeetingStarted | Trigger::MeetingEnded => {
            let meeting = source.read::<MeetingObject>()?;
            meeting.map(|meeting| Payload::Meeting(MeetingPayload { enveloped, ..meeting }))
        }
        Trigger::BookingNoShowUpdated => source.read::<NoShowObject>()?.map(Payload::NoShow),
        Trigger::AfterHostsCalVideoNoShow | Trigger::AfterGuestsCalVideoNoShow => {
            source.read::<CalVideoNoShowObject>()?.map(Payload::CalVideoNoShow)
        }
        Trigger::InstantMeeting => source.read::<InstantMeetingObject>()?.map(Payload::InstantMeeting),
        Trigger::RecordingReady | Trigger::RecordingTranscriptionGenerated => {
            source.read::<RecordingObject>()?.map(Payload::Recording)
        }
        Trigger::FormSubmitted | Trigger::FormSubmittedNoEvent | Trigger::RoutingFormFallbackHit => {
            source.read::<FormObject>()?.map(Payload::Form)
        }
        Trigger::OooCreated => source.read::<OutOfOfficeObject>()?.map(Payload::OutOfOffice),
        Trigger::DelegationCredentialError
        | Trigger::DelegationCredentialSecretRotated
        | Trigger::DelegationCredentialSecretRotationFailed
        | Trigger::DelegationCredentialRotationRequired => {
            source.read::<DelegationCredentialObject>()?.map(Payload::DelegationCredential)
        }
        Trigger::WrongAssignmentReport => source.read::<WrongAssignmentObject>()?.map(Payload::WrongAssignment),
        Trigger::Ping => source.read::<PingObject>()?.map(Payload::Ping),
        Trigger::Unspecified => source.read::<UnknownObject>()?.map(Payload::Unknown),
    })
}

#[cfg(test)]
mod tests;
