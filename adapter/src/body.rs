//! Reading a request's body: bounded in bytes, in time, and in what all requests hold together.
//!
//! Memory is reserved chunk by chunk as it arrives, so a declared length reserves nothing and a flood stops at the
//! budget.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A whole body, and the memory it is entitled to.
#[derive(Debug)]
pub(crate) struct Received {
    /// Exactly as sent.
    pub(crate) bytes: Bytes,
    /// Given back when the request is answered.
    _held: Option<OwnedSemaphorePermit>,
}

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Larger than the limit.
    TooLarge,
    /// Not there in time.
    TooSlow,
    /// Cut off, or its chunks are malformed.
    Broken,
    /// The bodies of all requests together hold as much as they may.
    NoRoom,
}

/// Whether the head already says that the body is over the limit.
pub(crate) fn declares_more_than<B: Body>(body: &B, limit: usize) -> bool {
    usize::try_from(body.size_hint().lower()).map_or(true, |declared| declared > limit)
}

/// Reads the body to its end. `budget` holds one permit for each byte.
pub(crate) async fn receive<B>(
    body: B,
    limit: usize,
    time: Duration,
    budget: &Arc<Semaphore>,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    tokio::time::timeout(time, collect(body, limit, budget)).await.unwrap_or(Err(BodyError::TooSlow))
}

async fn collect<B>(mut body: B, limit: usize, budget: &Arc<Semaphore>) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut parts = Parts::None;
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        length = length.saturating_add(chunk.len());
        if length > limit {
            return Err(BodyError::TooLarge);
        }
        let size = u32::try_from(chunk.len()).map_err(|_| BodyError::TooLarge)?;
        let permit = Arc::clone(budget).try_acquire_many_owned(size).map_err(|_| BodyError::NoRoom)?;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        parts = parts.and(chunk);
    }
    Ok(Received { bytes: parts.into_bytes(), _held: held })
}

/// What has arrived. A body of one chunk, which most are, is never copied.
enum Parts {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Parts {
    fn and(self, chunk: Bytes) -> Self {
        match self {
            Self::None => Self::One(chunk),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                many.extend_from_slice(&first);
                many.extend_from_slice(&chunk);
                Self::Many(many)
            }
            Self::Many(mut many) => {
                many.extend_from_slice(&chunk);
                Self::Many(many)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(many) => many.freeze(),
        }
    }
}

#[cfg(test)]
mod tests;
