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

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) who: Who,
    pub(super) way: Way,
    /// At which time that the point is passed it is the last, for each state of Redis.
    pub(super) times: [u64; 3],
    /// Where Redis is dead this point is another.
    pub(super) meets_dead_redis: bool,
    /// There is such a point without Redis.
    pub(super) is_redis_s: bool,
    /// PostgreSQL's side of it is the server's.
    pub(super) is_sqlite_s: bool,
}

impl Plan {
    pub(super) fn of(point: Point) -> Self {
        use Way::{Clock, Committed, Default, Found, Late, Purge, Quarantine, SentOn, Spooled};
        use Who::{Adapter, Replay, Service};
        let plan =
            |who, way, times| Self { who, way, times, meets_dead_redis: false, is_redis_s: false, is_sqlite_s: false };
        let ingest = |times| Self { meets_dead_redis: true, ..plan(Service, Default, times) };
        match point {
            Point::SegmentCreated => plan(Adapter, Spooled, [1, 1, 1]),
            Point::SpoolWrite => plan(Adapter, Spooled, [1, 4, 1]),
            Point::SpoolWritten | Point::SpoolSynced => plan(Adapter, Spooled, [4, 1, 1]),
            Point::EdgeSpooled | Point::DrainSend | Point::DrainAnswered => plan(Adapter, Spooled, [2, 6, 1]),
            Point::SpoolSettle | Point::SpoolSettled => plan(Adapter, Spooled, [1, 3, 1]),
            Point::EdgeCommitted | Point::ForwardSend | Point::ForwardAnswered => plan(Adapter, Committed, [1, 5, 1]),
            Point::LateAnswered => plan(Adapter, Late, [1, 3, 1]),
            Point::SpoolRecovered => plan(Adapter, Found, [1, 1, 1]),
            Point::SegmentRemove | Point::SegmentRemoved => plan(Adapter, SentOn, [1, 1, 1]),
            Point::QuarantineAdmitted | Point::QuarantineMarked => plan(Replay, Quarantine, [1, 5, 1]),
            Point::RoundKnown => plan(Service, Default, [1, 2, 1]),
            Point::StoreCommit | Point::StoreCommitted | Point::RoundStored => ingest([1, 3, 5]),
            Point::StoreSync | Point::StoreSynced => Self { is_sqlite_s: true, ..ingest([3, 5, 7]) },
            Point::RoundAnswer | Point::IngestAnswer => ingest([2, 5, 8]),
            Point::RedisMark | Point::RedisMarked => Self { is_redis_s: true, ..plan(Service, Default, [1, 3, 1]) },
            Point::ConsumerHeard => plan(Service, Default, [1, 3, 1]),
            Point::ConsumerCommit | Point::ConsumerCommitted => plan(Service, Default, [3, 6, 1]),
            Point::ClockCommit | Point::ClockCommitted => plan(Service, Clock, [1, 1, 1]),
            // Of bodies, and of deliveries.
            Point::PurgeCommit | Point::PurgeCommitted => plan(Service, Purge, [1, 2, 3]),
        }
    }

    /// Whether there is this point in a service with such a Redis.
    pub(super) fn has(&self, redis: Redis) -> bool {
        match redis {
            Redis::Absent => !self.is_redis_s,
            Redis::There => true,
            Redis::Dead => self.meets_dead_redis,
        }
    }
}
