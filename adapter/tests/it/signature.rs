//! Who is let in: the header's variants, several secrets, and refusals that tell nothing.

use crate::support::{
    ACME, Adapter, SECRET, created, limits,
    sender::{Answer, exchange, post},
    service::Service,
    sign,
};

const REFUSAL: &str = r#"{"error":"Invalid webhook signature"}"#;

#[tokio::test]
async fn each_way_to_write_a_signature_is_understood() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    let right = sign(SECRET, &body);
    let wrong = sign("another secret", &body);
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("X-Cal-Signature-256", &right)], 200),
        (&[("x-cal-signature-256", &right)], 200),
        (&[("Cal-Signature-256", &right)], 200),
        (&[("X-Cal-Signature", &right)], 200),
        (&[("Cal-Signature", &right)], 200),
        (&[("X-Cal-Signature-256", &right.to_uppercase())], 200),
        (&[("X-Cal-Signature-256", &format!("sha256={right}"))], 200),
        (&[("X-Cal-Signature-256", &format!("sha256={}", right.to_uppercase()))], 200),
        (&[("X-Cal-Signature-256", &right), ("X-Cal-Signature-256", &right)], 200),
        // The first name that is there decides, whatever the others say.
        (&[("Cal-Signature", &wrong), ("X-Cal-Signature-256", &right)], 200),
        (&[("Cal-Signature", &right), ("X-Cal-Signature-256", &wrong)], 401),
        (&[("X-Cal-Signature-256", ""), ("Cal-Signature", &right)], 401),
        (&[("X-Cal-Signature-256", &right), ("X-Cal-Signature-256", &wrong)], 401),
        (&[("X-Cal-Signature-256", &wrong), ("X-Cal-Signature-256", &right)], 401),
        (&[("X-Cal-Signature-256", &format!("{right}, {right}"))], 401),
        (&[("X-Cal-Signature-256", &wrong)], 401),
        (&[("X-Cal-Signature-256", &right[..62])], 401),
        (&[("X-Cal-Signature-256", &format!("{right}00"))], 401),
        (&[("X-Cal-Signature-256", &format!("sha1={right}"))], 401),
        (&[("X-Cal-Signature-256", "sha256=")], 401),
        (&[("X-Cal-Signature-256", "no-secret-provided")], 401),
        (&[("X-Cal-Signature-256", "é")], 401),
        (&[("X-Signature", &right)], 401),
        (&[], 401),
    ];
    for (headers, status) in cases {
        let answer = exchange(adapter.address, post("/webhooks/calcom", headers, &body)).await;
        assert_eq!(answer.status, *status, "{headers:?}");
        if *status == 401 {
            assert_eq!(answer.body, REFUSAL);
        }
    }
    assert_eq!(service.arrivals().len(), cases.iter().filter(|(_, status)| *status == 200).count());
}

#[tokio::test]
async fn the_signature_covers_the_bytes_as_sent() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    let signature = sign(SECRET, &body);
    let with = |end: &[u8]| [&body[..], end].concat();
    for (sent, status) in [
        (with(b"\n"), 200),
        (with(b"\r\n"), 200),
        (with(b"\r"), 200),
        (with(b" "), 401),
        (with(b"\n\n"), 401),
        (body[..body.len() - 1].to_vec(), 401),
    ] {
        let answer = exchange(adapter.address, post("/webhooks/calcom", &[("Cal-Signature", &signature)], &sent)).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(service.events()[1].raw_body, with(b"\r\n"), "what is kept is what was sent");
    // A body that is signed with its line end is not mistaken for one without.
    let signed_with_end = sign(SECRET, &with(b"\n"));
    let headers = [("Cal-Signature", signed_with_end.as_str()), ("Content-Encoding", "gzip")];
    assert_eq!(exchange(adapter.address, post("/webhooks/calcom", &headers, &with(b"\n"))).await.status, 200);
    assert_eq!(exchange(adapter.address, post("/webhooks/calcom", &headers, &body)).await.status, 401);
}

#[tokio::test]
async fn every_active_secret_of_the_tenant_counts_and_no_other() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    for (tenant, secret, status) in [
        ("acme", ACME[0], 200),
        ("acme", ACME[1], 200),
        ("acme", SECRET, 401),
        ("default", ACME[0], 401),
        ("default", SECRET, 200),
    ] {
        let path = format!("/webhooks/calcom/{tenant}");
        let answer = exchange(adapter.address, post(&path, &[("Cal-Signature", &sign(secret, &body))], &body)).await;
        assert_eq!(answer.status, status, "{tenant}, {secret}");
    }
    let ids: Vec<(String, String)> =
        service.events().into_iter().map(|event| (event.tenant, event.secret_id)).collect();
    let expected = [("acme", "file:old"), ("acme", "file:new"), ("default", "env:CALCOM_WEBHOOK_SECRET")];
    assert_eq!(ids, expected.map(|(tenant, id)| (tenant.to_owned(), id.to_owned())));
}

#[tokio::test]
async fn an_unknown_tenant_is_answered_like_a_forged_signature() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    let signature = sign(SECRET, &body);
    let mut answers: Vec<Answer> = Vec::new();
    let forged = sign("guessed", &body);
    for (path, headers) in [
        ("/webhooks/calcom/default", vec![]),
        ("/webhooks/calcom/default", vec![("X-Cal-Signature-256", "no-secret-provided")]),
        ("/webhooks/calcom/default", vec![("X-Cal-Signature-256", forged.as_str())]),
        ("/webhooks/calcom/nobody", vec![]),
        ("/webhooks/calcom/nobody", vec![("X-Cal-Signature-256", signature.as_str())]),
        ("/webhooks/calcom/DEFAULT", vec![("X-Cal-Signature-256", signature.as_str())]),
        ("/webhooks/calcom/%64efault", vec![("X-Cal-Signature-256", signature.as_str())]),
        ("/webhooks/calcom/defäult", vec![("X-Cal-Signature-256", signature.as_str())]),
        (&format!("/webhooks/calcom/{}", "x".repeat(65)), vec![("X-Cal-Signature-256", signature.as_str())]),
    ] {
        answers.push(exchange(adapter.address, post(path, &headers, &body)).await.without_date());
    }
    assert_eq!((answers[0].status, answers[0].body.as_str()), (401, REFUSAL));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert!(service.arrivals().is_empty());
}

#[tokio::test]
async fn a_tenant_without_a_secret_takes_everything_in() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    for headers in [vec![], vec![("X-Cal-Signature-256", "no-secret-provided")], vec![("Cal-Signature", "what")]] {
        let answer = exchange(adapter.address, post("/webhooks/calcom/open", &headers, &body)).await;
        assert_eq!(answer.status, 200);
    }
    assert!(service.events().iter().all(|event| event.secret_id == "unsigned"));
}
