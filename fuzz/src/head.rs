//! The rest of a request's head that is read: a trace's parent, and a caller's token. What is no such thing is as good
//! as none.

use calbridge_service::fuzzing::bearer;
use calbridge_telemetry::propagation;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use opentelemetry::trace::TraceContextExt as _;

use crate::cut::Cut;

/// Of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// Longer ones are not looked at.
const TRACEPARENT_BYTES_MOST: usize = 256;
/// Longer ones are none of ours.
const TOKEN_BYTES_MOST: usize = 1024;

pub(crate) fn judge(input: &[u8]) {
    let mut cut = Cut(input);
    let (parent, state, also) = (cut.counted(), cut.counted(), cut.byte());
    judge_parent(parent, state);
    judge_token(cut.rest(), also & 1 == 1);
}

fn judge_parent(parent: &[u8], state: &[u8]) {
    let text = String::from_utf8_lossy(parent);
    let context = propagation::parent_from(&text);
    if let Some(context) = &context {
        let span = context.span().span_context().clone();
        assert!(span.is_valid() && span.is_remote());
        // Version and flags, and what a later version may add.
        let written = format!("{}-{}-{}-{}", &text[..2], span.trace_id(), span.span_id(), &text[53..]);
        assert_eq!(text, written);
        let flags = u8::from_str_radix(&text[53..55], 16).expect("flags are two digits");
        assert_eq!(flags & 1 == 1, span.is_sampled());
        let may_go_on = !text.starts_with("00") && text[55..].starts_with('-') && text.len() <= TRACEPARENT_BYTES_MOST;
        assert!(text.len() == TRACEPARENT_BYTES || may_go_on, "{text:?}");
    }
    let mut headers = HeaderMap::new();
    match HeaderValue::from_bytes(parent) {
        Ok(value) if value.to_str().is_ok() => headers.insert(propagation::TRACEPARENT, value),
        _ => return,
    };
    if let Ok(state) = HeaderValue::from_bytes(state) {
        headers.insert(HeaderName::from_static("tracestate"), state);
    }
    // As a header it is the same, whatever stands beside it.
    let extracted = propagation::extract(&headers).map(|context| context.span().span_context().trace_id());
    assert_eq!(extracted, context.map(|context| context.span().span_context().trace_id()), "{text:?}");
}

fn judge_token(value: &[u8], is_twice: bool) {
    let Ok(header) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, header.clone());
    if is_twice {
        headers.append(AUTHORIZATION, header);
    }
    let is_bearer = value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let token = value.get(7..).unwrap_or_default().trim_ascii();
    let fits = (1..=TOKEN_BYTES_MOST).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    assert_eq!(bearer(&headers), (is_bearer && fits && !is_twice).then_some(token));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let parents = [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-ff",
    ];
    let states = ["", "vendor=value,other=1", "=,,a=", "a=b,a=b"];
    let tokens = ["", "Bearer cbt_4bf92f3577b34da6", "bearer  x ", "Basic dXNlcjpwdw=="];
    let counted = |text: &str| [&[u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat();
    let both = |place: usize, parent: &&str| {
        let (state, token) = (states[place % states.len()], tokens[place % tokens.len()]);
        [counted(parent), counted(state), vec![u8::from(place == 5)], token.as_bytes().to_vec()].concat()
    };
    parents.iter().enumerate().map(|(place, parent)| both(place, parent)).collect()
}
