//! What an answer means. Committed is only what says so: neither an error nor an empty answer does.

use std::time::Duration;

use calbridge_proto::v1::{SubmitError, SubmitEventsResponse, SubmitOutcome};

use crate::forward::{Accepted, RETRY_AFTER_BUSY, Refused};

/// The longest wait that the service may ask a sender for; beyond it the number is a mistake.
const RETRY_AFTER_MOST: Duration = Duration::from_mins(1);

/// What one replica says about one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is on stable storage.
    Committed(Accepted),
    /// The replica can't take it now; another may.
    Unable {
        refused: Refused,
        /// It takes nothing more on this stream.
        leaving: bool,
    },
    /// The replica will not take it, and is none the worse for that; one with other principals, or of another release,
    /// may.
    NotHere(Refused),
    /// Any other replica would say the same.
    Final(Refused),
}

pub(super) fn judge(answer: SubmitEventsResponse) -> Verdict {
    if let Some(error) = answer.error {
        let refused = Refused { retry_after: retry_after(&error), reason: reason(&error.reason) };
        return match refused.reason {
            "overloaded" | "store_unavailable" => Verdict::Unable { refused, leaving: false },
            "shutting_down" => Verdict::Unable { refused, leaving: true },
            "invalid_field" => Verdict::Final(refused),
            _ => Verdict::NotHere(refused),
        };
    }
    let accepted = |outcome| Accepted { outcome, delivery_id: answer.delivery_id };
    match SubmitOutcome::try_from(answer.outcome) {
        Ok(SubmitOutcome::Unspecified) => Verdict::Final(Refused::away("no_outcome")),
        Ok(outcome) => Verdict::Committed(accepted(outcome)),
        // A newer service has a word that we don't know; without an error it is committed all the same.
        Err(_) => Verdict::Committed(accepted(SubmitOutcome::Recorded)),
    }
}

/// The service's word, as long as it is one of those we know: `error.type` has few values.
fn reason(reason: &str) -> &'static str {
    match reason {
        "OVERLOADED" => "overloaded",
        "STORE_UNAVAILABLE" => "store_unavailable",
        "SHUTTING_DOWN" => "shutting_down",
        "INVALID_FIELD" => "invalid_field",
        "SCOPE_MISSING" => "scope_missing",
        _ => "_OTHER",
    }
}

fn retry_after(error: &SubmitError) -> Duration {
    let asked = error.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
    asked.unwrap_or(RETRY_AFTER_BUSY).min(RETRY_AFTER_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(outcome: i32, error: Option<&str>) -> Verdict {
        let error = error.map(|reason| SubmitError { reason: reason.to_owned(), ..SubmitError::default() });
        judge(SubmitEventsResponse { outcome, delivery_id: "id".to_owned(), error, ..Default::default() })
    }

    #[test]
    fn only_what_says_so_is_committed() {
        let committed = |outcome| Verdict::Committed(Accepted { outcome, delivery_id: "id".to_owned() });
        assert_eq!(said(0, None), Verdict::Final(Refused::away("no_outcome")));
        assert_eq!(said(SubmitOutcome::Unparsed.into(), None), committed(SubmitOutcome::Unparsed));
        assert_eq!(said(99, None), committed(SubmitOutcome::Recorded));
        assert_eq!(said(0, Some("")), Verdict::NotHere(Refused::busy("_OTHER")));
        assert_eq!(said(0, Some("INVALID_FIELD")), Verdict::Final(Refused::busy("invalid_field")));
        assert_eq!(said(0, Some("SCOPE_MISSING")), Verdict::NotHere(Refused::busy("scope_missing")));
        let applied = SubmitOutcome::Applied.into();
        for (word, reason, leaving) in [
            ("OVERLOADED", "overloaded", false),
            ("STORE_UNAVAILABLE", "store_unavailable", false),
            ("SHUTTING_DOWN", "shutting_down", true),
        ] {
            assert_eq!(said(applied, Some(word)), Verdict::Unable { refused: Refused::busy(reason), leaving });
        }
    }
}
