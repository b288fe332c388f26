//! Every bound that an operator may move, with its default and the reason for it.

use std::time::Duration;

use crate::{ConfigError, LimitOptions, Period, Rate, RateStatus};

/// Cal.com's bodies are 2 to 3 KB; three copies of a 67 kB note made 204 kB.
const BODY_BYTES: usize = 1024 * 1024;
/// Cal.com sends 11 short headers; proxies add some.
const HEADER_BYTES: usize = 16 * 1024;
/// As above.
const HEADER_COUNT: usize = 100;
/// A sender on the far side of the world has its headers here in well under a second.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// 1 MiB in 5 s is a line of 2 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections cost about 10 KB each.
const CONNECTIONS: usize = 1024;
/// Requests whose body is here and whose answer is not, over all connections.
const IN_FLIGHT: usize = 1024;
/// The bodies of these requests together: what a flood can make the process hold.
const IN_FLIGHT_BYTES: usize = 256 * 1024 * 1024;
/// Cal.com's direct path makes its booker wait for our answer. A service that works has committed long before; the
/// spool takes a few milliseconds more.
const FORWARD_DEADLINE: Duration = Duration::from_millis(250);
/// Where there is no spool the answer is 503 then: a slow commit is better.
const FORWARD_DEADLINE_WITHOUT_SPOOL: Duration = Duration::from_secs(2);
/// Supervisors commonly kill 10 s after SIGTERM; what was accepted is done long before.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

/// The bounds in force.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body of a webhook, in bytes; 413 above.
    pub body_bytes: usize,
    /// Largest head of a request, in bytes; 431 above.
    pub header_bytes: usize,
    /// Most headers of a request; 431 above.
    pub header_count: usize,
    /// For the head of a request, and for the first byte of a connection; closed after it.
    pub header_timeout: Duration,
    /// For the body of a request; 408 after it.
    pub body_timeout: Duration,
    /// Most open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Most requests whose body is here and whose answer is not; 503 above.
    pub in_flight: usize,
    /// Most bytes of bodies held at once; 503 above.
    pub in_flight_bytes: usize,
    /// Verified webhooks of one tenant; [`Limits::rate_status`] above.
    pub tenant_rate: Option<Rate>,
    /// Requests of one source; [`Limits::rate_status`] above.
    pub source_rate: Option<Rate>,
    /// What is answered above the rates.
    pub rate_status: RateStatus,
    /// For the service to commit an event; after it the spool keeps it, and where there is none the answer is 503.
    pub forward_deadline: Duration,
    /// For what was accepted to be finished after SIGTERM.
    pub shutdown_grace: Duration,
}

impl Limits {
    /// The greatest `header_bytes`: a `HeaderMap` holds 24,576 headers, and this many bytes are fewer than that.
    pub const HEADER_BYTES_MOST: usize = 256 * 1024;

    /// The greatest `header_count`: hyper lays out a table of that size for every head.
    pub const HEADER_COUNT_MOST: usize = 4096;

    /// Fills the gaps with the defaults and checks the arithmetic between the bounds.
    pub(crate) fn resolve(options: &LimitOptions, has_spool: bool) -> Result<Self, ConfigError> {
        let mut limits = Self::filled(options, has_spool);
        limits.tenant_rate =
            Rate::resolve(["--tenant-rate", "--tenant-burst"], options.tenant_rate, options.tenant_burst)?;
        limits.source_rate =
            Rate::resolve(["--source-rate", "--source-burst"], options.source_rate, options.source_burst)?;
        limits.check()?;
        Ok(limits)
    }

    /// All but the rates, which have no default.
    fn filled(options: &LimitOptions, has_spool: bool) -> Self {
        let forward_deadline = if has_spool { FORWARD_DEADLINE } else { FORWARD_DEADLINE_WITHOUT_SPOOL };
        let period = |given: Option<Period>, default| given.map_or(default, |period| period.0);
        Self {
            body_bytes: options.body_bytes.unwrap_or(BODY_BYTES),
            header_bytes: options.header_bytes.unwrap_or(HEADER_BYTES),
            header_count: options.header_count.unwrap_or(HEADER_COUNT),
            header_timeout: period(options.header_timeout, HEADER_TIMEOUT),
            body_timeout: period(options.body_timeout, BODY_TIMEOUT),
            connections: options.connections.unwrap_or(CONNECTIONS),
            in_flight: options.in_flight.unwrap_or(IN_FLIGHT),
            in_flight_bytes: options.in_flight_bytes.unwrap_or(IN_FLIGHT_BYTES),
            tenant_rate: None,
            source_rate: None,
            rate_status: options.rate_status.unwrap_or_default(),
            forward_deadline: period(options.forward_deadline, forward_deadline),
            shutdown_grace: period(options.shutdown_grace, SHUTDOWN_GRACE),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |option, value: String, mend: String| Err(ConfigError::Value { option, value, mend });
        for (option, value, least) in [
            // The service takes bodies up to this size in, whatever the adapter's operator thinks.
            ("--body-bytes", self.body_bytes, 1),
            // hyper's read buffer can't be smaller.
            ("--header-bytes", self.header_bytes, 8192),
            ("--header-count", self.header_count, 1),
            ("--connections", self.connections, 1),
            ("--in-flight", self.in_flight, 1),
        ] {
            if value < least {
                return refuse(option, value.to_string(), format!("must be at least {least}"));
            }
        }
        for (option, value, most) in [
            ("--header-bytes", self.header_bytes, Self::HEADER_BYTES_MOST),
            ("--header-count", self.header_count, Self::HEADER_COUNT_MOST),
        ] {
            if value > most {
                return refuse(option, value.to_string(), format!("must be at most {most}"));
            }
        }
        if self.body_bytes > BODY_BYTES_MOST {
            let mend =
                format!("must be at most {BODY_BYTES_MOST}: one gRPC message carries the body and its typed form");
            return refuse("--body-bytes", self.body_bytes.to_string(), mend);
        }
        if self.in_flight_bytes < self.body_bytes {
            let mend = format!("must be at least --body-bytes ({}), or no large body could be taken", self.body_bytes);
            return refuse("--in-flight-bytes", self.in_flight_bytes.to_string(), mend);
        }
        for (option, value) in [
            ("--header-timeout", self.header_timeout),
            ("--body-timeout", self.body_timeout),
            ("--forward-deadline", self.forward_deadline),
            ("--shutdown-grace", self.shutdown_grace),
        ] {
            if value.is_zero() {
                return refuse(option, "0s".to_owned(), "must be longer than nothing".to_owned());
            }
            if value > TIME_MOST {
                return refuse(option, Period(value).to_string(), "must be at most 1day".to_owned());
            }
        }
        let accepted = self.body_timeout.saturating_add(self.forward_deadline);
        if self.shutdown_grace <= accepted {
            let mend = format!(
                "must be longer than --body-timeout and --forward-deadline together ({}), \
                 or a webhook that was accepted could be cut off",
                Period(accepted)
            );
            return refuse("--shutdown-grace", Period(self.shutdown_grace).to_string(), mend);
        }
        Ok(())
    }
}

impl Default for Limits {
    /// Those of a program that keeps a spool.
    fn default() -> Self {
        Self::filled(&LimitOptions::default(), true)
    }
}

/// The longest that anybody is waited for. A moment that lies beyond what clocks can tell ends whoever computes it.
const TIME_MOST: Duration = Duration::from_hours(24);

/// The greatest `--body-bytes`: with the typed form and room for growth it stays below the service's message limit.
const BODY_BYTES_MOST: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        for has_spool in [false, true] {
            Limits::resolve(&LimitOptions::default(), has_spool).unwrap();
        }
    }

    #[test]
    fn bounds_that_contradict_each_other_are_refused_by_name() {
        let short_grace =
            LimitOptions { shutdown_grace: Some(Period(Duration::from_secs(1))), ..LimitOptions::default() };
        let small_budget = LimitOptions { in_flight_bytes: Some(10), ..LimitOptions::default() };
        let no_rate = LimitOptions { tenant_rate: Some(0), ..LimitOptions::default() };
        let burst_alone = LimitOptions { source_burst: Some(5), ..LimitOptions::default() };
        let huge_body = LimitOptions { body_bytes: Some(1 << 30), ..LimitOptions::default() };
        let for_ever = Some(Period(Duration::from_secs(u64::MAX)));
        let long_grace = LimitOptions { shutdown_grace: for_ever, ..LimitOptions::default() };
        let long_head = LimitOptions { header_timeout: for_ever, ..LimitOptions::default() };
        for (options, flag) in [
            (short_grace, "--shutdown-grace"),
            (small_budget, "--in-flight-bytes"),
            (huge_body, "--body-bytes"),
            (no_rate, "--tenant-rate"),
            (burst_alone, "--source-burst"),
            (long_grace, "--shutdown-grace"),
            (long_head, "--header-timeout"),
        ] {
            let why = Limits::resolve(&options, true).unwrap_err().to_string();
            assert!(why.starts_with(flag), "{why}");
        }
    }
}
