mod hostile;

use calbridge_proto::v1::{BookingEvent, BookingPayload, Trigger, booking_event::Payload};
use jiff::Timestamp;

use super::{Typed, in_order, type_body};
use crate::envelope::TRIGGER_NAME_BYTES_MAX;
use crate::golden::{self, Golden, Path};

/// Every trigger of the schema, the unknown one too.
fn triggers() -> impl Iterator<Item = Trigger> {
    (0..=28).map(|number| Trigger::try_from(number).expect("a trigger"))
}

fn golden() -> Golden {
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    Golden::new("uX7hTq2", 41, time("2026-10-01T08:30:00.125Z"), time("2026-10-09T10:00:00Z"))
}

fn seconds(time: Option<prost_types::Timestamp>) -> i64 {
    time.expect("a time").seconds
}

fn booking(typed: Typed) -> BookingPayload {
    match typed.payload {
        Some(Payload::Booking(booking)) => booking,
        other => panic!("no booking: {other:?}"),
    }
}

/// The message that the schema gives a trigger, by the name of its oneof field.
fn kind(payload: &Payload) -> &'static str {
    match payload {
        Payload::Booking(_) => "booking",
        Payload::Meeting(_) => "meeting",
        Payload::NoShow(_) => "no_show",
        Payload::CalVideoNoShow(_) => "cal_video_no_show",
        Payload::InstantMeeting(_) => "instant_meeting",
        Payload::Recording(_) => "recording",
        Payload::Form(_) => "form",
        Payload::OutOfOffice(_) => "out_of_office",
        Payload::DelegationCredential(_) => "delegation_credential",
        Payload::WrongAssignment(_) => "wrong_assignment",
        Payload::Ping(_) => "ping",
        Payload::Unknown(_) => "unknown",
    }
}

fn expected_kind(name: &str) -> &'static str {
    match name {
        "BOOKING_NO_SHOW_UPDATED" => "no_show",
        "MEETING_STARTED" | "MEETING_ENDED" => "meeting",
        "INSTANT_MEETING" => "instant_meeting",
        "OOO_CREATED" => "out_of_office",
        "WRONG_ASSIGNMENT_REPORT" => "wrong_assignment",
        "PING" => "ping",
        _ if name.starts_with("BOOKING_") || name == "INSTANT_MEETING_ACCEPTED" => "booking",
        _ if name.starts_with("AFTER_") => "cal_video_no_show",
        _ if name.starts_with("RECORDING_") => "recording",
        _ if name.contains("FORM_") => "form",
        _ if name.starts_with("DELEGATION_") => "delegation_credential",
        _ => "unknown",
    }
}

#[test]
fn every_trigger_of_every_path_has_its_payload() {
    for trigger in triggers() {
        for path in [Path::Direct, Path::Confirm, Path::Payment, Path::Queue] {
            let golden = Golden { path, ..golden() };
            let body = golden::body(trigger, &golden);
            let typed = type_body(&body);
            let name = golden::trigger_name(trigger);
            assert_eq!((typed.trigger, typed.trigger_name.as_str()), (trigger, name));

            let payload = typed.payload.expect("typed");
            assert_eq!(kind(&payload), expected_kind(name), "{name}");
            let flat = matches!(trigger, Trigger::MeetingStarted | Trigger::MeetingEnded) && path != Path::Queue;
            assert_eq!(typed.event_time.is_none(), flat, "{name} {path:?}");
            let in_one_pass = in_order(str::from_utf8(&body).expect("a text"));
            assert_eq!(in_one_pass.is_none(), flat, "{name} {path:?}");
            let names_no_booking =
                matches!(kind(&payload), "form" | "out_of_office" | "delegation_credential" | "ping")
                    || (path == Path::Queue && matches!(kind(&payload), "instant_meeting" | "recording"));
            let uid = Some("uX7hTq2").filter(|_| !names_no_booking);
            assert_eq!(payload.booking_uid(), uid, "{name} {path:?}");
        }
    }
}

#[test]
fn into_event_fills_its_four_fields_alone() {
    let mut event = BookingEvent { tenant: "t".to_owned(), ..BookingEvent::default() };
    type_body(&golden::body(Trigger::Ping, &golden())).into_event(&mut event);
    assert_eq!((event.tenant.as_str(), event.trigger()), ("t", Trigger::Ping));
    assert_eq!((event.trigger_name.as_str(), seconds(event.event_time)), ("PING", 1_790_843_400));
    assert!(matches!(event.payload, Some(Payload::Ping(_))));

    Typed::default().into_event(&mut event);
    assert_eq!(event, BookingEvent { tenant: "t".to_owned(), ..BookingEvent::default() });
}

#[test]
fn what_has_no_envelope_is_unparsed() {
    for body in [
        b"".as_slice(),
        b"false",
        b"null",
        b"[]",
        b"7",
        b"\"BOOKING_CREATED\"",
        b"{}",
        b"not json",
        b"event=BOOKING_CREATED&uid=u1",
        b"{\"triggerEvent\":\"BOOKING_CREATED\",\"payload\":{\"uid\":\"u1\"}",
        b"{\"triggerEvent\":\"BOOKING_CREATED\",\"payload\":{\"uid\":\"\xff\"}}",
        b"{\"triggerEvent\":\"BOOKING_CREATED\",\"payload\":{\"uid\":\"a\nb\"}}",
        b"\xef\xbb\xbf{\"triggerEvent\":\"PING\",\"payload\":{}}",
        b"[{\"triggerEvent\":\"PING\",\"payload\":{}}]",
        b"{\"content\":\"A talk\",\"type\":\"first-talk\",\"payload\":{\"uid\":\"u1\"}}",
        b"{\"triggerEvent\":7,\"payload\":{\"uid\":\"u1\"}}",
        b"{\"triggerEvent\":\"\",\"payload\":{\"uid\":\"u1\"}}",
        b"{\"triggerEvent\":null,\"uid\":\"u1\"}",
    ] {
        assert_eq!(type_body(body), Typed::default(), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn of_a_key_that_stands_twice_the_last_counts_wherever_it_stands() {
    let [created, paid] = ["BOOKING_CREATED", "BOOKING_PAID"].map(|name| format!(r#""triggerEvent":"{name}""#));
    let [one, two] = ["u1", "u2"].map(|uid| format!(r#""payload":{{"uid":"{uid}"}}"#));
    for (body, trigger, uid) in [
        (format!("{{{created},{one}}}"), Trigger::BookingCreated, Some("u1")),
        (format!("{{{created},{paid},{one}}}"), Trigger::BookingPaid, Some("u1")),
        (format!("{{{created},{one},{paid}}}"), Trigger::BookingPaid, Some("u1")),
        (format!("{{{created},{one},{two}}}"), Trigger::BookingCreated, Some("u2")),
        (format!("{{{one},{created}}}"), Trigger::BookingCreated, Some("u1")),
        (format!(r#"{{{created},{one},"payload":null}}"#), Trigger::BookingCreated, None),
        (format!(r#"{{{created},{one},"triggerEvent":7}}"#), Trigger::Unspecified, None),
    ] {
        let typed = type_body(body.as_bytes());
        assert_eq!(typed.trigger, trigger, "{body}");
        assert_eq!(typed.payload.as_ref().and_then(Payload::booking_uid), uid, "{body}");
    }
}

#[test]
fn a_template_that_names_a_trigger_keeps_the_name_alone() {
    for rest in ["\"uid\":\"u1\"", "\"payload\":null", "\"payload\":\"u1\"", "\"payload\":[{\"uid\":\"u1\"}]"] {
        let body = format!(r#"{{"triggerEvent":"BOOKING_CREATED","createdAt":"2026-10-01T08:30:00Z",{rest}}}"#);
        let named =
            Typed { trigger: Trigger::BookingCreated, trigger_name: "BOOKING_CREATED".to_owned(), ..Typed::default() };
        assert_eq!(type_body(body.as_bytes()), named, "{rest}");
        let unknown = type_body(body.replace("BOOKING_CREATED", "BOOKING_REOPENED").as_bytes());
        assert_eq!((unknown.trigger, unknown.payload), (Trigger::Unspecified, None));
        assert_eq!(unknown.trigger_name, "BOOKING_REOPENED");
    }
}

#[test]
fn an_unknown_trigger_keeps_the_uid_it_names() {
    for (payload, uid) in [
        (r#"{"uid":"u1","bookingUid":"u2","booking":{"uid":"u3"}}"#, Some("u1")),
        (r#"{"uid":null,"bookingUid":"u2","booking":{"uid":"u3"}}"#, Some("u2")),
        (r#"{"booking":{"uid":"u3","x":{}}}"#, Some("u3")),
        (r#"{"booking":"u3"}"#, None),
        ("{}", None),
    ] {
        let typed = type_body(format!(r#"{{"payload":{payload},"triggerEvent":"BOOKING_REOPENED"}}"#).as_bytes());
        assert_eq!(typed.trigger, Trigger::Unspecified);
        let payload_typed = typed.payload.expect("a known envelope");
        assert!(matches!(payload_typed, Payload::Unknown(_)));
        assert_eq!(payload_typed.booking_uid(), uid, "{payload}");
    }
}

#[test]
fn a_trigger_name_is_cut_on_a_character() {
    let name = "é".repeat(200);
    let typed = type_body(format!(r#"{{"triggerEvent":"x{name}","payload":{{}}}}"#).as_bytes());
    assert_eq!(typed.trigger_name, format!("x{}", "é".repeat((TRIGGER_NAME_BYTES_MAX - 1) / 2)));
}

#[test]
fn an_envelope_without_a_time_is_still_one() {
    for created_at in ["", "\"createdAt\":null,", "\"createdAt\":\"yesterday\",", "\"createdAt\":1790843400000,"] {
        let typed = type_body(format!(r#"{{{created_at}"triggerEvent":"PING","payload":{{}}}}"#).as_bytes());
        assert_eq!((typed.event_time, typed.payload.is_some()), (None, true));
    }
}

#[test]
fn keys_that_a_form_spreads_fill_nothing() {
    let body = br#"{"uid":"x","status":"CANCELLED","startTime":"2026-10-01T08:30:00Z","triggerEvent":"FORM_SUBMITTED",
        "createdAt":"2026-10-01T08:30:00Z",
        "payload":{"formId":"f1","responses":{"uid":{"value":"x","response":"x"}}}}"#;
    let typed = type_body(body);
    assert_eq!((typed.trigger, seconds(typed.event_time)), (Trigger::FormSubmitted, 1_790_843_400));
    let payload = typed.payload.expect("typed");
    assert_eq!(payload.booking_uid(), None);
    let Payload::Form(form) = payload else { panic!("a form") };
    assert_eq!((form.form_id.as_str(), form.responses.len()), ("f1", 1));
}

#[test]
fn a_meeting_is_flat_or_enveloped() {
    let flat = br#"{"triggerEvent":"MEETING_ENDED","id":5,"uid":"u1","createdAt":"2026-09-01T00:00:00.000Z",
        "user":{"email":"a@x.example"},"eventType":{"slug":"talk"},"fromReschedule":"u0","paid":true,"payment":[]}"#;
    let typed = type_body(flat);
    assert_eq!(typed.event_time, None);
    let Some(Payload::Meeting(meeting)) = typed.payload else { panic!("a meeting") };
    assert_eq!((meeting.uid.as_str(), meeting.booking_id, meeting.enveloped), ("u1", Some(5), false));
    assert_eq!((seconds(meeting.row_create_time), meeting.event_type_slug.as_str()), (1_788_220_800, "talk"));
    assert_eq!((meeting.from_reschedule.as_str(), meeting.paid), ("u0", Some(true)));
    assert_eq!(meeting.organizer.expect("a host").email, "a@x.example");

    let enveloped = br#"{"triggerEvent":"MEETING_ENDED","createdAt":"2026-10-01T08:30:00Z",
        "payload":{"uid":"u1","createdAt":"2026-09-01T00:00:00.000Z"}}"#;
    let typed = type_body(enveloped);
    assert_eq!(seconds(typed.event_time), 1_790_843_400);
    let Some(Payload::Meeting(meeting)) = typed.payload else { panic!("a meeting") };
    assert_eq!((seconds(meeting.row_create_time), meeting.enveloped), (1_788_220_800, true));
}

#[test]
fn a_row_without_its_user_names_the_organizer_s_address() {
    for (keys, email) in [
        (r#""userPrimaryEmail":"a@x.example""#, "a@x.example"),
        (r#""user":null,"userPrimaryEmail":"a@x.example""#, "a@x.example"),
        (r#""userPrimaryEmail":"a@x.example","user":{"email":"b@x.example"}"#, "b@x.example"),
    ] {
        let body = format!(r#"{{"triggerEvent":"MEETING_STARTED","uid":"u1",{keys}}}"#);
        let Some(Payload::Meeting(meeting)) = type_body(body.as_bytes()).payload else { panic!("a meeting") };
        assert_eq!(meeting.organizer.expect("a host").email, email, "{body}");
    }
}

#[test]
fn a_booking_is_named_by_uid_or_by_booking_uid() {
    for (keys, uid) in [
        (r#""uid":"u1","bookingUid":"u2""#, "u1"),
        (r#""bookingUid":"u2","uid":"u1""#, "u1"),
        (r#""bookingUid":"u2","uid":null"#, "u2"),
        (r#""uid":"u1","uid":null,"bookingUid":"u2""#, "u2"),
        (r#""status":"ACCEPTED""#, ""),
    ] {
        let body = format!(r#"{{"triggerEvent":"INSTANT_MEETING_ACCEPTED","payload":{{{keys}}}}}"#);
        assert_eq!(booking(type_body(body.as_bytes())).uid, uid, "{keys}");
        let body = body.replace("INSTANT_MEETING_ACCEPTED", "BOOKING_NO_SHOW_UPDATED");
        let Some(Payload::NoShow(no_show)) = type_body(body.as_bytes()).payload else { panic!("a no-show") };
        let named = if keys.contains("u2") { "u2" } else { uid };
        assert_eq!(no_show.booking_uid, named, "{keys}");
    }
}

#[test]
fn a_field_of_another_type_costs_that_field_alone() {
    let body = br#"{"triggerEvent":"BOOKING_CREATED","createdAt":"2026-10-01T08:30:00Z","payload":{"uid":"u1",
        "title":null,"price":"1200","bookingId":"41","attendees":null,"organizer":"Mara","team":{},"metadata":[],
        "responses":"none","seatsPerTimeSlot":9999999999,"requestReschedule":"true","cancelledBy":17,
        "startTime":"soon","endTime":"2026-10-09T10:30:00+00:00","recurringEvent":null,"status":"ACCEPTED"}}"#;
    let expected = BookingPayload {
        uid: "u1".to_owned(),
        price_minor: Some(1_200),
        booking_id: Some(41),
        cancelled_by: "17".to_owned(),
        end_time: Some(prost_types::Timestamp { seconds: 1_791_541_800, nanos: 0 }),
        status: "ACCEPTED".to_owned(),
        ..BookingPayload::default()
    };
    assert_eq!(booking(type_body(body)), expected);
}

#[test]
fn people_are_read_from_every_shape() {
    let body = br#"{"triggerEvent":"BOOKING_CREATED","payload":{"attendees":[
        {"email":"a@x.example","language":{"locale":"fr"},"utcOffset":-570,"noShow":false,"id":3,"locale":"de"},
        {"email":"b@x.example","language":{},"locale":"pt-BR","utcOffset":null,"phoneNumber":null,"bookingSeat":null},
        {"email":"c@x.example","language":"en","bookingSeat":{"id":4,"referenceUid":"s4"}},
        null,"d@x.example",{},{"firstName":"E"}],
        "team":{"id":9,"name":"T","members":[{"email":"m@x.example"}]}}}"#;
    let booking = booking(type_body(body));
    let languages: Vec<_> = booking.attendees.iter().map(|person| person.language.as_str()).collect();
    assert_eq!(languages, ["fr", "pt-BR", "en"]);
    let first = &booking.attendees[0];
    assert_eq!((first.utc_offset_minutes, first.no_show, first.id), (Some(-570), Some(false), Some(3)));
    assert_eq!(booking.attendees[1].utc_offset_minutes, None);
    let seats: Vec<_> = booking.attendees.iter().map(|person| person.seat_uid.as_str()).collect();
    assert_eq!(seats, ["", "", "s4"]);
    let team = booking.team.expect("a team");
    assert_eq!((team.id, team.members[0].email.as_str()), (Some(9), "m@x.example"));
}

#[test]
fn those_who_missed_a_call_are_rows_or_addresses() {
    let body = br#"{"triggerEvent":"AFTER_GUESTS_CAL_VIDEO_NO_SHOW","payload":{"bookingUid":"u1",
        "guests":[{"email":"a@x.example","noShow":true},"b@x.example",7],
        "participants":["c@x.example",{"user_name":"d@x.example"},{"user_name":"Dee"},{"email":"e@x.example"}],
        "eventType":{"id":310},"webhook":{"id":"w1"}}}"#;
    let Some(Payload::CalVideoNoShow(no_show)) = type_body(body).payload else { panic!("a no-show") };
    let guests: Vec<_> = no_show.guests.iter().map(|guest| (guest.email.as_str(), guest.no_show)).collect();
    assert_eq!(guests, [("a@x.example", Some(true)), ("b@x.example", None)]);
    assert_eq!(no_show.participants, ["c@x.example", "d@x.example", "e@x.example"]);
    assert_eq!((no_show.event_type_id, no_show.webhook_id.as_str()), (Some(310), "w1"));
}

#[test]
fn broken_escapes_become_replacement_characters() {
    let body = br#"{"triggerEvent":"BOOKING_CREATED","payload":{"uid":"u1",
        "title":"half \ud83d, nul \u0000, whole \ud83d\ude00",
        "metadata":{"k\udc00":"\\ud83d","nested":["\ud83d"]},"responses":{"q\u0000":{"label":"l","value":"\uD83D"}}}}"#;
    let booking = booking(type_body(body));
    assert_eq!(booking.title, "half \u{fffd}, nul \u{fffd}, whole 😀");
    assert_eq!(booking.metadata["k\u{fffd}"], "\\ud83d");
    assert_eq!(booking.metadata["nested"], "[\"\u{fffd}\"]");
    assert!(booking.responses.contains_key("q\u{fffd}"));
}

#[test]
fn the_other_payloads_are_read() {
    let golden = Golden { notes: "away".to_owned(), ..golden() };
    let typed = |trigger| type_body(&golden::body(trigger, &golden)).payload.expect("typed");

    let Payload::OutOfOffice(absence) = typed(Trigger::OooCreated) else { panic!("an absence") };
    assert_eq!((absence.entry_id, absence.notes.as_str()), (Some(41), "away"));
    assert_eq!((absence.reason.as_str(), absence.to_user), ("ooo_reasons_vacation", None));
    assert_eq!(seconds(absence.end_time) - seconds(absence.start_time), 1_800);
    assert_eq!(absence.user.expect("a user").email, golden.organizer.email);

    let Payload::DelegationCredential(failed) = typed(Trigger::DelegationCredentialError) else { panic!("an error") };
    assert_eq!((failed.error_code.as_str(), failed.app_id.as_str()), ("InvalidGrantError", "google-calendar"));
    assert_eq!((failed.organization_id, failed.user.expect("a user").id), (Some(3), Some(7)));
    let rotation = typed(Trigger::DelegationCredentialSecretRotationFailed);
    let Payload::DelegationCredential(rotation) = rotation else { panic!("a rotation") };
    assert_eq!((rotation.error_code.as_str(), rotation.organization_id), ("SECRET_PROMOTION_FAILED", Some(3)));
    assert_eq!(rotation.delegation_credential_id, failed.delegation_credential_id);
    assert_eq!((rotation.workspace_platform.as_str(), rotation.user), ("office365", None));
    assert!(rotation.secret_expire_time.is_some());

    let Payload::WrongAssignment(report) = typed(Trigger::WrongAssignmentReport) else { panic!("a report") };
    assert_eq!((report.booking_uid.as_str(), report.booking_id), ("uX7hTq2", Some(41)));
    assert!(report.report_json.starts_with(r#"{"reportedBy":{"id":7,"#));

    let Payload::Recording(recording) = typed(Trigger::RecordingReady) else { panic!("a recording") };
    assert_eq!(recording.link_count, 1);
    let Payload::Recording(transcription) = typed(Trigger::RecordingTranscriptionGenerated) else { panic!("links") };
    assert_eq!((transcription.link_count, transcription.attendees.len()), (5, 1));

    let Payload::Form(form) = typed(Trigger::FormSubmittedNoEvent) else { panic!("a form") };
    assert_eq!((form.form_name.as_str(), form.response_id, form.team_id), ("Where to", Some(41), None));
}

#[test]
fn a_report_is_cut() {
    let long = "é".repeat(20_000);
    let body = format!(r#"{{"triggerEvent":"WRONG_ASSIGNMENT_REPORT","payload":{{"report":{{"notes":"{long}"}}}}}}"#);
    let Some(Payload::WrongAssignment(report)) = type_body(body.as_bytes()).payload else { panic!("a report") };
    assert!((16 * 1024 - 1..=16 * 1024).contains(&report.report_json.len()));
}
