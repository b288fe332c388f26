//! For each point: who dies there, how he is brought to it, and where there is such a point at all.

use calbridge_process::crash::Point;

/// A service's Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Redis {
    /// None is configured.
    Absent,
    There,
    /// Configured, and nobody is there.
    Dead,
}

impl Redis {
    pub(super) const ALL: [Self; 3] = [Self::Absent, Self::There, Self::Dead];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Absent => "no Redis",
            Self::There => "Redis",
            Self::Dead => "Redis dead",
        }
    }
}

/// Who kills himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Adapter,
    Service,
    /// `calbridge quarantine replay`.
    Replay,
}

/// What brings him to the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Webhooks come, and each waits for its commit.
    Committed,
    /// Webhooks come, and are answered as by default: what is not committed in time is in the spool.
    Default,
    /// Webhooks come, and are answered when the spool has them.
    Spooled,
    /// The same, while the service is frozen; and it dies with the adapter, whatever it has been sent.
    Unheard,
    /// The service is frozen for a moment, and answers when nobody waits any more.
    Late,
    /// The service is away, the adapter is killed, and the next one finds what is in the spool.
    Found,
    /// And sends it on, for the service is back.
    SentOn,
    /// The adapter has the wrong secret, and what it refused is replayed with the right one.
    Quarantine,
    /// Bookings end while the service runs.
    Clock,
    /// What is kept is past its retention.
    Purge,
}

/// Where there is such a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Everywhere,
    /// In a service that knows copies before it asks the store: not where its Redis is dead.
    Hint,
    /// In a service whose Redis is there.
    Redis,
    /// On `SQLite`: `PostgreSQL`'s side of it is the server's.
    Sqlite,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) who: Who,
    pub(super) way: Way,
    /// At which time that the point is passed it is the last, for each state of Redis.
    pub(super) times: [u64; 3],
    place: Where,
}

impl Plan {
    pub(super) fn of(point: Point) -> Self {
        use Way::{Clock, Committed, Default, Found, Late, Purge, Quarantine, SentOn, Spooled, Unheard};
        use Where::{Everywhere, Hint, Redis, Sqlite};
        use Who::{Adapter, Replay, Service};
        let (who, way, times, place) = match point {
            Point::SegmentCreated => (Adapter, Spooled, [1, 1, 1], Everywhere),
            Point::SpoolWrite => (Adapter, Spooled, [1, 4, 7], Everywhere),
            Point::SpoolWritten | Point::SpoolSynced => (Adapter, Spooled, [4, 1, 7], Everywhere),
            Point::EdgeSpooled | Point::DrainSend | Point::DrainAnswered => (Adapter, Spooled, [2, 6, 11], Everywhere),
            // Behind those that come before the service is frozen.
            Point::ForwardSend => (Adapter, Unheard, [7, 9, 10], Everywhere),
            Point::ForwardAnswered | Point::EdgeCommitted => (Adapter, Committed, [1, 5, 9], Everywhere),
            Point::LateAnswered => (Adapter, Late, [1, 2, 3], Everywhere),
            Point::SpoolSettle | Point::SpoolSettled => (Adapter, Spooled, [1, 3, 5], Everywhere),
            Point::SegmentRemove | Point::SegmentRemoved => (Adapter, SentOn, [1, 1, 1], Everywhere),
            Point::SpoolRecovered => (Adapter, Found, [1, 1, 1], Everywhere),
            Point::QuarantineAdmitted | Point::QuarantineMarked => (Replay, Quarantine, [1, 3, 5], Everywhere),
            Point::RoundKnown => (Service, Default, [1, 2, 1], Hint),
            Point::StoreCommit | Point::StoreCommitted | Point::RoundStored => {
                (Service, Default, [1, 3, 5], Everywhere)
            }
            Point::StoreSync | Point::StoreSynced => (Service, Default, [3, 5, 7], Sqlite),
            Point::StoreCheckpoint | Point::StoreCheckpointed => (Service, Default, [1, 2, 3], Sqlite),
            Point::RedisMark | Point::RedisMarked => (Service, Default, [1, 3, 1], Redis),
            Point::RoundAnswer | Point::IngestAnswer => (Service, Default, [2, 5, 8], Everywhere),
            Point::ConsumerHeard => (Service, Default, [1, 2, 3], Everywhere),
            Point::ConsumerCommit | Point::ConsumerCommitted => (Service, Default, [3, 6, 9], Everywhere),
            Point::ClockCommit | Point::ClockCommitted => (Service, Clock, [1, 1, 1], Everywhere),
            // Of one tenant's bodies, of the other's, and of the log.
            Point::PurgeCommit | Point::PurgeCommitted => (Service, Purge, [1, 3, 5], Everywhere),
        };
        Self { who, way, times, place }
    }

    /// Whether a service on this store with this Redis has the point.
    pub(super) fn is_met(&self, is_sqlite: bool, redis: Redis) -> bool {
        match self.place {
            Where::Everywhere => true,
            Where::Hint => redis != Redis::Dead,
            Where::Redis => redis == Redis::There,
            Where::Sqlite => is_sqlite,
        }
    }
}
