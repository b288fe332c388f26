//! Every refusal of the API, in one table: code, reason, message, details. No message repeats what the caller sent.

use std::{collections::HashMap, time::Duration};

use calbridge_process::Scope;
use calbridge_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    ingest::{InvalidField, Refused},
    settings::RETRY_DELAY,
    store::Position,
};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "calbridge";

/// What a caller can be refused for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// A field is not what it must be.
    InvalidField {
        /// Its path in the request.
        field: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// A filter that is not understood.
    FilterSyntax {
        /// From which character on, counted from one.
        character: usize,
        /// What stands there in a filter that is.
        expected: &'static str,
    },
    /// A page token of another list, or none of ours.
    PageTokenMismatch,
    /// No webhook spoke of this booking.
    BookingNotFound {
        /// Whom the caller asked for.
        uid: String,
    },
    /// No such delivery is kept.
    DeliveryNotFound {
        /// What the caller asked for.
        delivery_id: String,
    },
    /// The tenant has no consumer of this name.
    ConsumerNotFound {
        /// What the caller asked for.
        name: String,
    },
    /// It has one.
    ConsumerExists {
        /// What the caller asked for.
        name: String,
    },
    /// A message that tonic did not read.
    RequestTooLarge,
    /// A message that is none of this method.
    RequestMalformed,
    /// The tenant has as many as it may.
    ConsumersFull,
    /// Nothing goes out of it.
    ConsumerPaused,
    /// It was changed by somebody else.
    EtagMismatch,
    /// It is kept, and what is to be done with it needs its raw body, which is not.
    BodyPurged {
        /// What the caller asked for.
        delivery_id: String,
    },
    /// What lies behind the cursor is past its retention.
    CursorExpired {
        /// The earliest from which the log is whole.
        earliest: Position,
    },
    /// Too much is waiting.
    Overloaded,
    /// The store can't be written or read now. Nothing was committed.
    StoreUnavailable,
    /// The store has not reached the position that the caller waits for.
    NotThereYet,
    /// The service is about to end. Nothing was committed.
    ShuttingDown,
    /// The call took longer than its caller, or this service, waits. What it asked for may still be done.
    OutOfTime,
    /// Nothing says who calls.
    TokenMissing,
    /// Nobody has the token.
    TokenInvalid,
    /// The caller may do other things.
    ScopeMissing {
        /// Any of these would do.
        scopes: &'static [Scope],
        /// For what.
        what: &'static str,
    },
}

impl ApiError {
    fn code(&self) -> Code {
        match self {
            Self::InvalidField { .. }
            | Self::FilterSyntax { .. }
            | Self::PageTokenMismatch
            | Self::RequestTooLarge
            | Self::RequestMalformed => Code::InvalidArgument,
            Self::BookingNotFound { .. } | Self::DeliveryNotFound { .. } | Self::ConsumerNotFound { .. } => {
                Code::NotFound
            }
            Self::ConsumerExists { .. } => Code::AlreadyExists,
            Self::EtagMismatch => Code::Aborted,
            Self::BodyPurged { .. } | Self::ConsumerPaused => Code::FailedPrecondition,
            Self::CursorExpired { .. } => Code::OutOfRange,
            Self::Overloaded | Self::ConsumersFull => Code::ResourceExhausted,
            Self::StoreUnavailable | Self::NotThereYet | Self::ShuttingDown => Code::Unavailable,
            Self::OutOfTime => Code::DeadlineExceeded,
            Self::TokenMissing | Self::TokenInvalid => Code::Unauthenticated,
            Self::ScopeMissing { .. } => Code::PermissionDenied,
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::InvalidField { .. } => "INVALID_FIELD",
            Self::FilterSyntax { .. } => "FILTER_SYNTAX",
            Self::PageTokenMismatch => "PAGE_TOKEN_MISMATCH",
            Self::BookingNotFound { .. } => "BOOKING_NOT_FOUND",
            Self::DeliveryNotFound { .. } => "DELIVERY_NOT_FOUND",
            Self::ConsumerNotFound { .. } => "CONSUMER_NOT_FOUND",
            Self::ConsumerExists { .. } => "CONSUMER_EXISTS",
            Self::RequestTooLarge => "REQUEST_TOO_LARGE",
            Self::RequestMalformed => "REQUEST_MALFORMED",
            Self::ConsumersFull => "CONSUMERS_FULL",
            Self::ConsumerPaused => "CONSUMER_PAUSED",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::BodyPurged { .. } => "BODY_PURGED",
            Self::CursorExpired { .. } => "CURSOR_EXPIRED",
            Self::Overloaded => "OVERLOADED",
            Self::StoreUnavailable | Self::NotThereYet => "STORE_UNAVAILABLE",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::OutOfTime => "DEADLINE_EXCEEDED",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::ScopeMissing { .. } => "SCOPE_MISSING",
        }
    }

    fn message(&self) -> String {
        let fixed = match self {
            Self::InvalidField { field, why } => return format!("{field} {why}"),
            Self::FilterSyntax { character, expected } => {
                return format!("filter is not understood at character {character}: expected {expected}");
            }
            Self::ScopeMissing { scopes, what } => {
                return format!("{what} needs the scope {}, which this caller does not have for it", any_of(scopes));
            }
            Self::TokenMissing => {
                "this service knows its callers: send authorization: Bearer TOKEN, or connect with a certificate of one"
            }
            Self::TokenInvalid => "authorization holds no token of anybody: check it, or make one by calbridge token",
            Self::PageTokenMismatch => "page_token belongs to another list: begin again without it",
            Self::BookingNotFound { .. } => "no webhook spoke of this booking",
            Self::DeliveryNotFound { .. } => "no such delivery is kept",
            Self::ConsumerNotFound { .. } => "the tenant has no consumer of this name",
            Self::ConsumerExists { .. } => "the tenant has a consumer of this name",
            Self::RequestTooLarge => "the request is larger than this method takes",
            Self::RequestMalformed => "the request is no message of this method: which schema was it written by?",
            Self::ConsumersFull => "the tenant has as many consumers as it may: delete one that nobody needs",
            Self::ConsumerPaused => "the consumer is paused: resume it first",
            Self::EtagMismatch => "the consumer was changed meanwhile: get it again and try with its etag",
            Self::BodyPurged { .. } => "the raw body of this delivery is past its retention and gone",
            Self::CursorExpired { earliest } => {
                let earliest = earliest.to_token();
                return format!(
                    "transitions behind after_position are past their retention: begin at {earliest}, or empty"
                );
            }
            Self::NotThereYet => "the store has not reached min_position: try again, or ask without it",
            Self::Overloaded => "too much is waiting or running: try again later",
            Self::StoreUnavailable => "the store is unavailable and nothing was committed: try again",
            Self::ShuttingDown => "the service is shutting down and nothing was committed: try again",
            Self::OutOfTime => {
                "this took longer than grpc-timeout, or 30 s: what was asked for may have been done all the same"
            }
        };
        fixed.to_owned()
    }

    fn retry_delay(&self) -> Option<Duration> {
        let passes = matches!(self, Self::Overloaded | Self::StoreUnavailable | Self::NotThereYet | Self::ShuttingDown);
        passes.then_some(RETRY_DELAY)
    }

    fn details(&self) -> ErrorDetails {
        let metadata = match self {
            Self::CursorExpired { earliest } => HashMap::from([("earliest_position".to_owned(), earliest.to_token())]),
            Self::ScopeMissing { scopes, .. } => HashMap::from([("scope".to_owned(), any_of(scopes))]),
            _ => HashMap::new(),
        };
        let mut details = ErrorDetails::with_error_info(self.reason(), DOMAIN, metadata);
        if let Some(delay) = self.retry_delay() {
            details.set_retry_info(Some(delay));
        }
        let violation = match self {
            Self::InvalidField { field, .. } => Some(*field),
            Self::FilterSyntax { .. } => Some("filter"),
            Self::PageTokenMismatch => Some("page_token"),
            _ => None,
        };
        if let Some(field) = violation {
            details.add_bad_request_violation(field, self.message());
        }
        match self {
            Self::BookingNotFound { uid } => {
                details.set_resource_info("calbridge.v1.Booking", uid, "", self.message());
            }
            Self::ConsumerNotFound { name } | Self::ConsumerExists { name } => {
                details.set_resource_info("calbridge.v1.Consumer", name, "", self.message());
            }
            Self::DeliveryNotFound { delivery_id } | Self::BodyPurged { delivery_id } => {
                details.set_resource_info("calbridge.v1.Delivery", delivery_id, "", self.message());
            }
            _ => {}
        }
        details
    }
}

/// As the configuration has them.
fn any_of(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" or ")
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        Self::with_error_details(error.code(), error.message(), error.details())
    }
}

impl From<&ApiError> for v1::SubmitError {
    fn from(error: &ApiError) -> Self {
        Self {
            code: error.code().into(),
            reason: error.reason().to_owned(),
            message: error.message(),
            // A delay of seconds is in range.
            retry_delay: error.retry_delay().and_then(|delay| delay.try_into().ok()),
        }
    }
}

impl From<InvalidField> for ApiError {
    fn from(InvalidField { field, why }: InvalidField) -> Self {
        Self::InvalidField { field, why }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(invalid) => invalid.into(),
            Refused::Overloaded => Self::Overloaded,
            Refused::Store => Self::StoreUnavailable,
            Refused::ShuttingDown => Self::ShuttingDown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_its_row_of_the_table() {
        let field = ApiError::InvalidField { field: "event.tenant", why: "must be short" };
        let booking = ApiError::BookingNotFound { uid: "u1".to_owned() };
        let delivery = ApiError::DeliveryNotFound { delivery_id: "d1".to_owned() };
        let purged = ApiError::BodyPurged { delivery_id: "d1".to_owned() };
        let consumer = ApiError::ConsumerNotFound { name: "c1".to_owned() };
        let exists = ApiError::ConsumerExists { name: "c1".to_owned() };
        let expired = ApiError::CursorExpired { earliest: Position(7) };
        assert_eq!(expired.details().error_info().unwrap().metadata["earliest_position"], "0000000000000007");
        let scope = ApiError::ScopeMissing { scopes: &[Scope::Read, Scope::Consume], what: "this method" };
        assert_eq!(
            scope.message(),
            "this method needs the scope read or consume, which this caller does not have for it"
        );
        assert_eq!(scope.details().error_info().unwrap().metadata["scope"], "read or consume");
        for (error, code, reason, retry, violation, resource) in [
            (field, Code::InvalidArgument, "INVALID_FIELD", false, Some("event.tenant"), None),
            (
                ApiError::FilterSyntax { character: 3, expected: "AND" },
                Code::InvalidArgument,
                "FILTER_SYNTAX",
                false,
                Some("filter"),
                None,
            ),
            (
                ApiError::PageTokenMismatch,
                Code::InvalidArgument,
                "PAGE_TOKEN_MISMATCH",
                false,
                Some("page_token"),
                None,
            ),
            (booking, Code::NotFound, "BOOKING_NOT_FOUND", false, None, Some(("calbridge.v1.Booking", "u1"))),
            (delivery, Code::NotFound, "DELIVERY_NOT_FOUND", false, None, Some(("calbridge.v1.Delivery", "d1"))),
            (purged, Code::FailedPrecondition, "BODY_PURGED", false, None, Some(("calbridge.v1.Delivery", "d1"))),
            (consumer, Code::NotFound, "CONSUMER_NOT_FOUND", false, None, Some(("calbridge.v1.Consumer", "c1"))),
            (exists, Code::AlreadyExists, "CONSUMER_EXISTS", false, None, Some(("calbridge.v1.Consumer", "c1"))),
            (ApiError::RequestTooLarge, Code::InvalidArgument, "REQUEST_TOO_LARGE", false, None, None),
            (ApiError::RequestMalformed, Code::InvalidArgument, "REQUEST_MALFORMED", false, None, None),
            (ApiError::ConsumersFull, Code::ResourceExhausted, "CONSUMERS_FULL", false, None, None),
            (ApiError::ConsumerPaused, Code::FailedPrecondition, "CONSUMER_PAUSED", false, None, None),
            (ApiError::EtagMismatch, Code::Aborted, "ETAG_MISMATCH", false, None, None),
            (expired, Code::OutOfRange, "CURSOR_EXPIRED", false, None, None),
            (ApiError::Overloaded, Code::ResourceExhausted, "OVERLOADED", true, None, None),
            (ApiError::StoreUnavailable, Code::Unavailable, "STORE_UNAVAILABLE", true, None, None),
            (ApiError::NotThereYet, Code::Unavailable, "STORE_UNAVAILABLE", true, None, None),
            (ApiError::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN", true, None, None),
            (ApiError::OutOfTime, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", false, None, None),
            (ApiError::TokenMissing, Code::Unauthenticated, "TOKEN_MISSING", false, None, None),
            (ApiError::TokenInvalid, Code::Unauthenticated, "TOKEN_INVALID", false, None, None),
            (scope, Code::PermissionDenied, "SCOPE_MISSING", false, None, None),
        ] {
            let in_stream = v1::SubmitError::from(&error);
            let status = Status::from(error);
            let details = status.check_error_details().unwrap();
            assert_eq!((status.code(), in_stream.code), (code, code.into()), "{reason}");
            assert_eq!(in_stream.reason, reason);
            assert_eq!(in_stream.message, status.message());
            assert_eq!(in_stream.retry_delay.is_some(), retry, "{reason}");
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "calbridge"));
            assert_eq!(
                details.retry_info().and_then(|info| info.retry_delay),
                retry.then_some(RETRY_DELAY),
                "{reason}"
            );
            let named = details.bad_request().map(|bad| bad.field_violations[0].field.as_str());
            assert_eq!(named, violation, "{reason}");
            let about = details.resource_info().map(|info| (info.resource_type.as_str(), info.resource_name.as_str()));
            assert_eq!(about, resource, "{reason}");
            assert_eq!(
                status.check_error_details_vec().unwrap().len(),
                1 + usize::from(retry || violation.is_some() || resource.is_some())
            );
        }
    }
}
