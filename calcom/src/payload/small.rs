//! The small ones: `INSTANT_MEETING`, `RECORDING_*`, PING, and triggers that the schema does not know.

use calbridge_proto::v1::{InstantMeetingPayload, PingPayload, RecordingPayload, UnknownPayload};
use serde::de::MapAccess;

use super::{person::PersonObject, uid::Uids};
use crate::{
    freeform::Responses,
    lenient::{Object, Slot, StrictText},
};

/// `INSTANT_MEETING`. The variant built as a browser notification has a title and no uid.
#[derive(Default)]
pub(crate) struct InstantMeetingObject {
    meeting: InstantMeetingPayload,
    uids: Uids,
}

impl<'de> Object<'de> for InstantMeetingObject {
    type Message = InstantMeetingPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let meeting = &mut self.meeting;
        match key {
            "uid" | "bookingUid" => self.uids.field(key, slot)?,
            "eventTypeId" => meeting.event_type_id = slot.int()?,
            "eventTypeTitle" => meeting.event_type_title = slot.text()?,
            "responses" => meeting.responses = slot.read::<Responses>()?,
            "title" => meeting.title = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<InstantMeetingPayload> {
        self.meeting.uid = self.uids.uid_first();
        Some(self.meeting)
    }
}

/// `RECORDING_READY` and `RECORDING_TRANSCRIPTION_GENERATED`. Whoever has a link has the recording, so links are
/// counted and not kept.
#[derive(Default)]
pub(crate) struct RecordingObject {
    recording: RecordingPayload,
    uids: Uids,
    download_link: bool,
    download_links: u32,
}

impl<'de> Object<'de> for RecordingObject {
    type Message = RecordingPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let recording = &mut self.recording;
        match key {
            "uid" | "bookingUid" => self.uids.field(key, slot)?,
            "title" => recording.title = slot.text()?,
            "startTime" => recording.start_time = slot.time()?,
            "endTime" => recording.end_time = slot.time()?,
            "organizer" => recording.organizer = slot.read::<PersonObject>()?,
            "attendees" => recording.attendees = slot.list::<PersonObject, _>()?,
            "downloadLink" => self.download_link = slot.read::<StrictText>()?.is_some(),
            "downloadLinks" => self.download_links = slot.read::<Links>()?.unwrap_or_default(),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<RecordingPayload> {
        self.recording.uid = self.uids.uid_first();
        self.recording.link_count = self.download_links + u32::from(self.download_link);
        Some(self.recording)
    }
}

/// `downloadLinks`: `{transcription: [{format, link}], recording}`.
#[derive(Default)]
struct Links {
    transcriptions: Vec<()>,
    recording: bool,
}

impl<'de> Object<'de> for Links {
    type Message = u32;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "transcription" => self.transcriptions = slot.list::<Link, _>()?,
            "recording" => self.recording = slot.read::<StrictText>()?.is_some(),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<u32> {
        Some(u32::try_from(self.transcriptions.len()).unwrap_or(u32::MAX - 2) + u32::from(self.recording))
    }
}

/// `{format, link}`.
#[derive(Default)]
struct Link {
    link: bool,
}

impl<'de> Object<'de> for Link {
    type Message = ();

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "link" => self.link = slot.read::<StrictText>()?.is_some(),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<()> {
        self.link.then_some(())
    }
}

/// PING.
#[derive(Default)]
pub(crate) struct PingObject(PingPayload);

impl<'de> Object<'de> for PingObject {
    type Message = PingPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "title" => self.0.title = slot.text()?,
            "startTime" => self.0.start_time = slot.time()?,
            "endTime" => self.0.end_time = slot.time()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<PingPayload> {
        Some(self.0)
    }
}

/// A trigger that the schema does not know: whichever booking it names.
#[derive(Default)]
pub(crate) struct UnknownObject(Uids);

impl<'de> Object<'de> for UnknownObject {
    type Message = UnknownPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        self.0.field(key, slot)
    }

    fn finish(self) -> Option<UnknownPayload> {
        Some(UnknownPayload { booking_uid: self.0.uid_first() })
    }
}
