//! What a refusal means to a reader: whether it may pass by itself, and which reason stands in it.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Another try, perhaps at another replica, may succeed without anybody doing anything.
#[must_use]
pub fn passes(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => true,
        // Of ours it is a fault that stays; without a word from the service it is the connection's.
        Code::Internal => reason(status).is_none(),
        _ => false,
    }
}

/// The reason of a refusal as the API lists them, such as `CURSOR_EXPIRED`.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [Status::unavailable(""), Status::resource_exhausted(""), Status::internal("h2: went away")] {
            assert!(passes(&status), "{status:?}");
        }
        for status in [Status::out_of_range(""), Status::invalid_argument(""), Status::permission_denied("")] {
            assert!(!passes(&status), "{status:?}");
        }
        let details = ErrorDetails::with_error_info("BROKEN", "calbridge", HashMap::new());
        let broken = Status::with_error_details(Code::Internal, "", details);
        assert!(!passes(&broken));
        assert_eq!(reason(&broken).as_deref(), Some("BROKEN"));
    }
}
