//! What Cal.com's contract says should come of a recording, written by hand and looked up in the plain JSON.

use std::collections::BTreeMap;

use calbridge_e2e::{
    corpus::Recording,
    v1::{BookingStatus as Status, PaymentStatus as Payment},
};
use serde_json::Value;

/// How a booking stands when everything has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) status: Status,
    pub(super) payment: Payment,
}

/// A lifecycle, the step whose own booking is meant, and where that booking ends.
const LIFECYCLES: &[(&str, i64, Status, Payment)] = &[
    // Booked, moved (a fresh uid; nobody cancels the old one), cancelled.
    ("L1-create-reschedule-cancel", 1, Status::Rescheduled, Payment::None),
    ("L1-create-reschedule-cancel", 2, Status::Cancelled, Payment::None),
    // Asked for, approved, and both timers rang.
    ("L2-request-confirm-started-ended", 1, Status::Completed, Payment::None),
    ("L3-request-reject", 1, Status::Rejected, Payment::None),
    // Two attendees: one marked, both marked, one mark taken back.
    ("L4-create-noshow", 1, Status::InProgress, Payment::None),
    // CREATED before PAID, as the sender did in December 2025, and after it, as it did in 2026.
    ("L6-paid-stripe-dec2025", 1, Status::Scheduled, Payment::Paid),
    ("L7-paid-stripe-2026", 1, Status::Scheduled, Payment::Paid),
    // The move of an approval event comes as a request with the old uid; the approval does not repeat it.
    ("L10-reschedule-of-approval-event", 1, Status::Rescheduled, Payment::None),
    ("L10-reschedule-of-approval-event", 3, Status::Scheduled, Payment::None),
    // "All remaining" are cancelled, and one uid is told: the siblings can't be known.
    ("L12-recurring-series", 1, Status::Cancelled, Payment::None),
    ("L12-recurring-series", 2, Status::Scheduled, Payment::None),
    ("L12-recurring-series", 3, Status::Scheduled, Payment::None),
    ("L12-recurring-series", 4, Status::Scheduled, Payment::None),
    // Three seats, one leaves, the owner moves it under its own uid, the host cancels the whole.
    ("L14-seated-event", 1, Status::Cancelled, Payment::None),
    ("D1-duplicate-subscriptions", 1, Status::Scheduled, Payment::None),
    ("D2-tasker-retry", 1, Status::Scheduled, Payment::None),
];

/// Steps of lifecycles that change nothing that can be seen.
const NO_CHANGE: &[&str] = &[
    // The same webhook of another subscription: only `createdAt` differs.
    "082-duplicate-two-subscriptions-same-url-2",
];

/// Whether the body is one of Cal.com's envelopes, and not what somebody's template made of it.
pub(super) fn is_typed(recording: &Recording) -> bool {
    let json = recording.json();
    let flat = matches!(json["triggerEvent"].as_str(), Some("MEETING_STARTED" | "MEETING_ENDED"));
    json["triggerEvent"].is_string() && (json["payload"].is_object() || flat)
}

/// The outcomes that are right for a recording. More than one where no line above knows its lifecycle.
pub(super) fn outcomes<'a>(
    recording: &Recording,
    mut before: impl Iterator<Item = &'a Recording>,
) -> Vec<&'static str> {
    if !is_typed(recording) {
        return vec!["unparsed"];
    }
    if before.any(|earlier| earlier.body == recording.body) {
        return vec!["duplicate"];
    }
    if states_nothing(recording) {
        return vec!["recorded"];
    }
    match &recording.sequence {
        _ if NO_CHANGE.contains(&recording.file.as_str()) => vec!["no_change"],
        Some(_) if !is_foreseen(recording) => vec!["applied", "no_change"],
        _ => vec!["applied"],
    }
}

/// Whether its lifecycle stands in the table; every single request is foreseen.
pub(super) fn is_foreseen(recording: &Recording) -> bool {
    recording.sequence.as_ref().is_none_or(|sequence| LIFECYCLES.iter().any(|(name, ..)| name == sequence))
}

/// Kept, and no word of any booking's state.
fn states_nothing(recording: &Recording) -> bool {
    let json = recording.json();
    let trigger = json["triggerEvent"].as_str().unwrap_or_default();
    match trigger {
        "MEETING_STARTED" | "MEETING_ENDED" | "INSTANT_MEETING" | "INSTANT_MEETING_ACCEPTED" => {
            own_uid(&json).is_none()
        }
        // BOOKING_CONFIRMED and its like stand in examples of the documentation; nothing sends them.
        "BOOKING_CREATED"
        | "BOOKING_REQUESTED"
        | "BOOKING_RESCHEDULED"
        | "BOOKING_CANCELLED"
        | "BOOKING_REJECTED"
        | "BOOKING_PAYMENT_INITIATED"
        | "BOOKING_PAID"
        | "BOOKING_NO_SHOW_UPDATED"
        | "BOOKING_LOCATION_UPDATED"
        | "BOOKING_REASSIGNED"
        | "AFTER_HOSTS_CAL_VIDEO_NO_SHOW"
        | "AFTER_GUESTS_CAL_VIDEO_NO_SHOW" => false,
        _ => true,
    }
}

/// The booking that a body is about.
pub(super) fn own_uid(json: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if json["triggerEvent"].as_str()?.starts_with("FORM_") {
        return None;
    }
    let body = body(json);
    text(&body["uid"]).or_else(|| text(&body["bookingUid"])).or_else(|| text(&body["booking"]["uid"]))
}

/// Every booking that a body speaks of: its own, the one that it replaces, and the one that its `iCalUID` names.
pub(super) fn spoken_of(json: &Value) -> Vec<String> {
    let Some(own) = own_uid(json) else { return Vec::new() };
    let body = body(json);
    let mut uids = vec![own.clone()];
    let recorded = matches!(
        json["triggerEvent"].as_str(),
        Some("RECORDING_READY" | "RECORDING_TRANSCRIPTION_GENERATED" | "WRONG_ASSIGNMENT_REPORT")
    );
    if recorded {
        return uids;
    }
    uids.extend(["rescheduleUid", "fromReschedule"].iter().filter_map(|key| body[key].as_str().map(str::to_owned)));
    if body["seatsPerTimeSlot"].is_null() {
        let first = body["iCalUID"].as_str().and_then(|ical| ical.split_once('@'));
        uids.extend(first.map(|(uid, _)| uid.to_owned()));
    }
    uids.sort();
    uids.dedup();
    uids
}

fn body(json: &Value) -> &Value {
    if json["payload"].is_object() { &json["payload"] } else { json }
}

/// Where the bookings of one lifecycle, or of one single request, end.
pub(super) fn ends(taken: &[&Recording]) -> BTreeMap<String, End> {
    let mut ends = BTreeMap::new();
    for recording in taken {
        let json = recording.json();
        let (Some(uid), false) = (own_uid(&json), states_nothing(recording)) else { continue };
        match &recording.sequence {
            None => {
                ends.extend(single(&json).map(|end| (uid, end)));
                let replaced = End { status: Status::Rescheduled, payment: Payment::None };
                ends.extend(body(&json)["rescheduleUid"].as_str().map(|old| (old.to_owned(), replaced)));
            }
            Some(sequence) => {
                let lines = LIFECYCLES.iter().filter(|(name, step, ..)| name == sequence && *step == recording.step);
                ends.extend(
                    lines.map(|(.., status, payment)| (uid.clone(), End { status: *status, payment: *payment })),
                );
            }
        }
    }
    ends
}

/// Where a booking stands of which one webhook is all that we ever heard.
fn single(json: &Value) -> Option<End> {
    let status_sent = body(json)["status"].as_str();
    let accepted = if status_sent == Some("PENDING") { Status::Requested } else { Status::Scheduled };
    let (status, payment) = match json["triggerEvent"].as_str()? {
        "BOOKING_CREATED" | "BOOKING_RESCHEDULED" | "INSTANT_MEETING_ACCEPTED" => (Status::Scheduled, Payment::None),
        "BOOKING_REQUESTED" => (Status::Requested, Payment::None),
        "BOOKING_CANCELLED" => (Status::Cancelled, Payment::None),
        "BOOKING_REJECTED" => (Status::Rejected, Payment::None),
        // The payload says ACCEPTED, the row is PENDING.
        "BOOKING_PAYMENT_INITIATED" => (Status::Requested, Payment::Initiated),
        "BOOKING_PAID" if status_sent == Some("ACCEPTED") => (Status::Scheduled, Payment::Paid),
        "BOOKING_PAID" => (Status::Requested, Payment::Paid),
        "BOOKING_LOCATION_UPDATED" | "BOOKING_REASSIGNED" => (accepted, Payment::None),
        // A mark names one attendee; whether others were invited is not said.
        "BOOKING_NO_SHOW_UPDATED" | "MEETING_STARTED" | "AFTER_HOSTS_CAL_VIDEO_NO_SHOW" => {
            (Status::InProgress, Payment::None)
        }
        "MEETING_ENDED" => (Status::Completed, Payment::None),
        "INSTANT_MEETING" => (Status::AwaitingHost, Payment::None),
        "AFTER_GUESTS_CAL_VIDEO_NO_SHOW" if everybody_stayed_away(body(json)) => (Status::NoShow, Payment::None),
        "AFTER_GUESTS_CAL_VIDEO_NO_SHOW" => (Status::InProgress, Payment::None),
        _ => return None,
    };
    Some(End { status, payment })
}

fn everybody_stayed_away(body: &Value) -> bool {
    let emails = |list: &Value| -> Vec<String> {
        let list = list.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|one| one.as_str().or(one["email"].as_str())).map(str::to_lowercase).collect()
    };
    let absent = emails(&body["guests"]);
    let invited = emails(&body["attendees"]);
    !invited.is_empty() && invited.iter().all(|email| absent.contains(email))
}
