//! What a client of a consumer says, request by request, and what it calls a delivery.

use std::time::Duration;

use calbridge_proto::v1::{
    NackAction,
    consume_request::{Nack, Request},
};

use super::{consumer, errors::ApiError};
use crate::store::{DeliveryOf, Position, Said};

/// A nack may not put an entry off for longer.
const DELAY_MAX: Duration = Duration::from_hours(24);

/// What a request says of which deliveries.
pub(super) fn read(request: Option<Request>) -> Result<Vec<(DeliveryOf, Said)>, ApiError> {
    let (ids, said) = match request {
        Some(Request::Ack(ack)) => (ack.ids, Said::Ack),
        Some(Request::Extend(extend)) => (extend.ids, Said::Extend),
        Some(Request::Nack(nack)) => {
            let said = nacked(&nack)?;
            (vec![nack.id], said)
        }
        Some(Request::Open(_)) | None => {
            let why = "may come once, as the first request; every other is an ack, a nack or an extend";
            return Err(ApiError::InvalidField { field: "open", why });
        }
    };
    let unknown = ApiError::InvalidField { field: "ids", why: "must be the id of an item of this consumer" };
    let deliveries = ids.iter().map(|id| Some((read_id(id)?, said.clone())));
    deliveries.collect::<Option<_>>().ok_or(unknown)
}

fn nacked(Nack { action, delay, reason, .. }: &Nack) -> Result<Said, ApiError> {
    let invalid = |field, why| ApiError::InvalidField { field, why };
    let pause = match delay {
        Some(delay) => {
            let delay = consumer::duration(*delay, DELAY_MAX);
            Some(delay.ok_or(invalid("nack.delay", "must be at most a day, and not negative"))?)
        }
        None => None,
    };
    match NackAction::try_from(*action) {
        Ok(NackAction::Unspecified | NackAction::Retry) => Ok(Said::Retry(pause, reason.clone())),
        Ok(NackAction::Park) => Ok(Said::Park(reason.clone())),
        Ok(NackAction::Skip) => Ok(Said::Skip),
        Err(_) => Err(invalid("nack.action", "is not an action of this schema")),
    }
}

/// As a client knows a delivery: position and lease, each as 16 hex digits.
pub(super) fn id(DeliveryOf { position, lease }: DeliveryOf) -> String {
    format!("{}{}", position.to_token(), Position(lease).to_token())
}

pub(super) fn read_id(id: &str) -> Option<DeliveryOf> {
    let (position, lease) = id.split_at_checked(16)?;
    Some(DeliveryOf { position: Position::from_token(position)?, lease: Position::from_token(lease)?.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_delivery() {
        let delivery = DeliveryOf { position: Position(7), lease: 9 };
        assert_eq!(read_id(&id(delivery)), Some(delivery));
        for other in ["", "x", "0000000000000007", "äääääääääääääääääääääääääääääääää"]
        {
            assert_eq!(read_id(other), None, "{other}");
        }
    }

    #[test]
    fn a_nack_says_what_is_to_become_of_it() {
        let nack = |action: NackAction, seconds| Nack {
            action: action.into(),
            delay: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..Nack::default()
        };
        let retry = Said::Retry(Some(Duration::from_secs(2)), String::new());
        assert_eq!(nacked(&nack(NackAction::Unspecified, 2)), Ok(retry.clone()));
        assert_eq!(nacked(&nack(NackAction::Retry, 2)), Ok(retry));
        assert_eq!(nacked(&Nack::default()), Ok(Said::Retry(None, String::new())));
        assert_eq!(nacked(&nack(NackAction::Park, 0)), Ok(Said::Park(String::new())));
        assert_eq!(nacked(&nack(NackAction::Skip, 0)), Ok(Said::Skip));
        for seconds in [-1, 90_000] {
            assert!(nacked(&nack(NackAction::Retry, seconds)).is_err());
        }
        assert!(nacked(&Nack { action: 99, ..Nack::default() }).is_err());
    }
}
