//! Says once that Redis takes no keys, and once that it does again.
//!
//! A Redis that is full and still answers is asked as before: what it was told earlier is as good a hint as ever.

use calbridge_telemetry::semconv;
use tokio::time::Instant;
use tracing::{info, warn};

use super::failure::Failure;
use crate::settings::REDIS_STEADY;

/// Whether there is room for keys, as far as it was said.
#[derive(Debug, Default)]
pub(super) struct Room {
    refused: Option<Instant>,
}

impl Room {
    /// What came of telling Redis.
    pub(super) fn note(&mut self, told: Result<&(), &Failure>) {
        match told {
            Err(Failure::Full(code)) => {
                let before = self.refused.replace(Instant::now());
                if before.is_none() {
                    warn!(
                        { semconv::DB_RESPONSE_STATUS_CODE } = code,
                        "Redis takes no keys; it is still asked, and the store recognises what it does not know"
                    );
                }
            }
            // One at its limit takes a key now and then: only after a while is it worth a line.
            Ok(()) if self.refused.is_some_and(|at| at.elapsed() >= REDIS_STEADY) => {
                self.refused = None;
                info!("Redis takes keys again");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_has_room_again_only_after_a_while_without_refusal() {
        let mut room = Room::default();
        room.note(Err(&Failure::Timeout));
        assert!(room.refused.is_none(), "not its room was at fault");
        room.note(Err(&Failure::of_code("OOM")));
        tokio::time::advance(REDIS_STEADY / 2).await;
        room.note(Ok(&()));
        assert!(room.refused.is_some());
        tokio::time::advance(REDIS_STEADY / 2).await;
        room.note(Ok(&()));
        assert!(room.refused.is_none());
    }
}
