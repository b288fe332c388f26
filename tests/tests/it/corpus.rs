//! Every recorded webhook of Cal.com through both programs: the right answer at the edge, the right booking, the right
//! history, and the bytes kept as they came.
//!
//! Each lifecycle, and each single request, has a tenant of its own, so that none depends on another.

mod expect;
mod fields;

use std::collections::{BTreeMap, BTreeSet};

use calbridge_e2e::{
    api::Api,
    corpus::{self, Recording},
    system::{Plan, SECRET, System},
    v1::{DeliveryDisposition, SubmitOutcome},
    webhook::{Answer, sha256},
};
use hyper::Method;
use serde_json::Value;

/// One recording with what the edge said to it.
struct Sent {
    recording: Recording,
    json: Value,
    answer: Answer,
}

#[tokio::test]
async fn every_recorded_webhook_has_its_answer_its_booking_and_its_history() {
    let recordings = corpus::load();
    if recordings.is_empty() {
        return;
    }
    let mut groups: BTreeMap<String, Vec<Recording>> = BTreeMap::new();
    for recording in recordings {
        groups.entry(tenant_of(&recording)).or_default().push(recording);
    }
    let plan = groups.iter().fold(Plan::new(), |plan, (tenant, group)| plan.tenant(tenant, secret_of(group)));
    let mut system = plan.start().await;
    let count: usize = groups.values().map(Vec::len).sum();
    for (tenant, mut group) in groups {
        group.sort_by_key(|recording| recording.step);
        let sent = send(&system, &tenant, group).await;
        let api = system.api();
        for one in &sent {
            kept_or_refused(&api, &tenant, one).await;
        }
        bookings_are_right(&api, &tenant, &sent).await;
        histories_are_right(&api, &tenant, &sent).await;
    }
    println!("{count} recorded webhooks tried");
    system.stop().await;
}

/// A lifecycle's name, or the file's, as a tenant may be called.
fn tenant_of(recording: &Recording) -> String {
    let name = recording.sequence.as_ref().unwrap_or(&recording.file).to_lowercase();
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect()
}

fn secret_of(group: &[Recording]) -> &str {
    group.iter().find_map(|recording| recording.secret.as_deref()).unwrap_or(SECRET)
}

async fn send(system: &System, tenant: &str, group: Vec<Recording>) -> Vec<Sent> {
    let sender = system.sender();
    let mut sent = Vec::new();
    for recording in group {
        // These three belong to the connection that it was recorded on.
        let of_connection = ["host", "connection", "content-length"];
        let headers: Vec<_> = recording.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers: Vec<_> =
            headers.into_iter().filter(|(name, _)| !of_connection.contains(&name.to_lowercase().as_str())).collect();
        let path = format!("/webhooks/calcom/{tenant}");
        let answer = sender.request(Method::POST, &path, &headers, recording.body.clone()).await.unwrap();
        answer_is_right(&recording, &sent, &answer);
        sent.push(Sent { json: recording.json(), recording, answer });
    }
    sent
}

fn answer_is_right(recording: &Recording, before: &[Sent], answer: &Answer) {
    let file = &recording.file;
    if recording.secret.is_none() {
        assert_eq!(answer.status, 401, "{file}");
        assert_eq!(&answer.body[..], br#"{"error":"Invalid webhook signature"}"#, "{file}");
        return;
    }
    assert_eq!(answer.status, 200, "{file}: {:?}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json", "{file}");
    let json = answer.json();
    assert_eq!(json["status"], "processed", "{file}");
    assert!(json["delivery_id"].as_str().is_some_and(|id| id.len() == 36), "{file}: {json}");
    let expected = expect::outcomes(recording, before.iter().map(|sent| &sent.recording));
    assert!(expected.contains(&json["outcome"].as_str().unwrap()), "{file}: {json}, expected {expected:?}");
    let event = recording.json()["triggerEvent"].as_str().unwrap_or_default().to_owned();
    assert_eq!(json["event"].as_str().unwrap_or_default(), event, "{file}");
    if json["outcome"] == "duplicate" {
        let first = before.iter().find(|sent| sent.recording.body == recording.body).unwrap();
        assert_eq!(answer.delivery_id(), first.answer.delivery_id(), "{file}");
    }
}

/// What was taken is there byte for byte, what was refused is not there at all.
async fn kept_or_refused(api: &Api, tenant: &str, sent: &Sent) {
    let Sent { recording, answer, json } = sent;
    let file = &recording.file;
    let of_body = |body_sha256: &[u8]| body_sha256 == sha256(&recording.body);
    let deliveries = api.all_deliveries(tenant).await;
    let same = deliveries.iter().filter(|delivery| of_body(&delivery.body_sha256)).count();
    if recording.secret.is_none() {
        assert_eq!(same, 0, "{file} was refused, and is stored all the same");
        return;
    }
    assert_eq!(same, 1, "{file} is kept once");
    let delivery = api.delivery(tenant, &answer.delivery_id()).await.unwrap();
    assert!(delivery.raw_body == recording.body, "{file}: the raw body is another one");
    assert_eq!(delivery.body_sha256, sha256(&recording.body), "{file}");
    assert_eq!(usize::try_from(delivery.body_size).unwrap(), recording.body.len(), "{file}");
    assert_eq!(delivery.secret_id, "literal:1", "{file}");
    let header = |wanted: &str| {
        let found = recording.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map_or("", |(_, value)| value)
    };
    assert_eq!(delivery.content_type, header("content-type"), "{file}");
    assert_eq!(delivery.webhook_version, header("x-cal-webhook-version"), "{file}");
    let typed = expect::is_typed(recording);
    let disposition = if typed { DeliveryDisposition::Accepted } else { DeliveryDisposition::Unparsed };
    assert_eq!(delivery.disposition(), disposition, "{file}");
    assert_eq!(delivery.trigger_name, json["triggerEvent"].as_str().unwrap_or_default(), "{file}");
    let created_at = json["createdAt"].as_str().filter(|_| json["payload"].is_object());
    assert_eq!(delivery.event_time.map(fields::microseconds), created_at.map(fields::instant), "{file}");
    assert_eq!(delivery.booking_uid, expect::own_uid(json).unwrap_or_default(), "{file}");
    assert_ne!(delivery.outcome(), SubmitOutcome::Duplicate, "{file}: the first is no duplicate");
}

async fn bookings_are_right(api: &Api, tenant: &str, sent: &[Sent]) {
    let taken: Vec<&Sent> = sent.iter().filter(|one| one.answer.status == 200).collect();
    let ends = expect::ends(&taken.iter().map(|one| &one.recording).collect::<Vec<_>>());
    for (uid, end) in &ends {
        let booking = api.booking(tenant, uid).await.unwrap_or_else(|| panic!("{tenant} does not know {uid}"));
        assert_eq!((booking.status(), booking.payment_status()), (end.status, end.payment), "{tenant} {uid}");
        let about = taken.iter().filter(|one| expect::own_uid(&one.json).as_ref() == Some(uid));
        let about: Vec<(&str, &Value)> = about.map(|one| (one.recording.trigger.as_str(), &one.json)).collect();
        if about.is_empty() {
            let by = taken.iter().find(|one| one.json["payload"]["rescheduleUid"] == uid.as_str()).unwrap();
            fields::replaced_is_right(&booking, &by.json["payload"]);
        } else {
            fields::are_right(&booking, &about);
        }
    }
    if !sent.iter().all(|one| expect::is_foreseen(&one.recording)) {
        println!("{tenant}: no line of the table says where this lifecycle ends");
        return;
    }
    let known: BTreeSet<_> = api.all_bookings(tenant).await.into_iter().map(|booking| booking.uid).collect();
    assert_eq!(known, ends.into_keys().collect(), "{tenant} knows these bookings and no other");
}

/// Each delivery that speaks of a booking stands in its timeline, in order, duplicates too.
async fn histories_are_right(api: &Api, tenant: &str, sent: &[Sent]) {
    let mut expected: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for one in sent.iter().filter(|one| one.answer.status == 200) {
        for uid in expect::spoken_of(&one.json) {
            expected.entry(uid).or_default().push((one.answer.delivery_id(), one.recording.file.clone()));
        }
    }
    for (uid, deliveries) in expected {
        let entries = api.timeline(tenant, &uid).await;
        let found: Vec<_> = entries.iter().map(|entry| entry.delivery_id.clone()).collect();
        let wanted: Vec<_> = deliveries.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(found, wanted, "{tenant} {uid}: the timeline of {deliveries:?}");
        for (entry, (_, file)) in entries.iter().zip(&deliveries) {
            let one = sent.iter().find(|one| &one.recording.file == file).unwrap();
            let applied = entry.outcome() == SubmitOutcome::Applied;
            assert_eq!(entry.transition.is_some(), applied, "{tenant} {uid} {file}");
            assert_eq!(entry.trigger_name, one.json["triggerEvent"].as_str().unwrap_or_default(), "{file}");
            let own = expect::own_uid(&one.json).as_ref() == Some(&uid);
            if own && one.answer.outcome() != "applied" {
                let name = entry.outcome().as_str_name().trim_start_matches("SUBMIT_OUTCOME_").to_lowercase();
                assert_eq!(name, one.answer.outcome(), "{tenant} {uid} {file}");
            }
        }
    }
}
