use http_body_util::BodyExt as _;

use super::*;

async fn shown(answer: Answer, has_connection_header: bool) -> (u16, Vec<(String, String)>, String) {
    let (head, body) = answer.into_response(has_connection_header).into_parts();
    let headers =
        head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_table_of_refusals() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    const CLOSE: (&str, &str) = ("connection", "close");
    let wait = |millis| Answer::Unavailable { retry_after: Duration::from_millis(millis) };
    let rows = [
        (Answer::InvalidSignature, 401, vec![JSON], r#"{"error":"Invalid webhook signature"}"#),
        (Answer::NotFound, 404, vec![JSON], r#"{"error":"Not found"}"#),
        (Answer::MethodNotAllowed, 405, vec![JSON, ("allow", "POST")], r#"{"error":"Method not allowed"}"#),
        (Answer::BodyTooLarge, 413, vec![JSON, CLOSE], r#"{"error":"Body too large"}"#),
        (Answer::BodyTooSlow, 408, vec![JSON, CLOSE], r#"{"error":"Body too slow"}"#),
        (Answer::BodyBroken, 400, vec![CLOSE], ""),
        (Answer::UriTooLong, 414, vec![CLOSE], ""),
        (Answer::HeadersTooLarge, 431, vec![CLOSE], ""),
        (wait(0), 503, vec![JSON, ("retry-after", "1")], r#"{"error":"Temporarily unavailable"}"#),
        (wait(1000), 503, vec![JSON, ("retry-after", "1")], r#"{"error":"Temporarily unavailable"}"#),
        (wait(1001), 503, vec![JSON, ("retry-after", "2")], r#"{"error":"Temporarily unavailable"}"#),
        (
            Answer::TooManyRequests { retry_after: Duration::from_millis(1500) },
            429,
            vec![JSON, ("retry-after", "2")],
            r#"{"error":"Too many requests"}"#,
        ),
    ];
    for (answer, status, headers, body) in rows {
        assert_eq!(answer.status().as_u16(), status);
        assert!(status != 410 && !(300..400).contains(&status), "Cal.com takes these amiss");
        let owned = |headers: Vec<(&str, &str)>| -> Vec<(String, String)> {
            headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        assert_eq!(shown(answer.clone(), true).await, (status, owned(headers.clone()), body.to_owned()));
        let http2 = headers.into_iter().filter(|header| *header != CLOSE).collect();
        assert_eq!(shown(answer, false).await, (status, owned(http2), body.to_owned()));
    }
}

#[tokio::test]
async fn a_2xx_escapes_what_is_not_ours() {
    let answer = Answer::Processed {
        event: "quote \" and \u{1}".to_owned(),
        outcome: SubmitOutcome::NoChange,
        delivery_id: "id".to_owned(),
    };
    let (status, _, body) = shown(answer, true).await;
    assert_eq!(status, 200);
    let expected = r#"{"status":"processed","event":"quote \" and \u0001","outcome":"no_change","delivery_id":"id"}"#;
    assert_eq!(body, expected);
    let (status, _, body) = shown(Answer::Accepted { event: "a \"b\"".to_owned() }, true).await;
    assert_eq!((status, body.as_str()), (202, r#"{"status":"accepted","event":"a \"b\""}"#));
}
