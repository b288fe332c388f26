//! Attacks on the HTTP edge, each beside an honest sender whose webhooks are all taken in, and in time: what the
//! attackers hold is bounded, what they say is written nowhere, and what they took is given back.

mod bodies;
mod clock;
mod flood;
mod frames;
mod heads;
mod slow;
mod smuggling;
mod tls;
mod wrong_secret;

use std::{net::IpAddr, time::Duration};

use calbridge_e2e::{
    siege::{Measured, Yardstick, peak_bytes},
    system::{Plan, System, TENANT},
    wait,
    webhook::{created, sha256},
};
use tokio::net::{TcpSocket, TcpStream};

use super::socket::{FILES, settle};

/// In whatever attackers send, so that it can be looked for.
const MARK: &str = "b4df00d";
/// Attackers have another address than honest senders.
const STRANGER: [u8; 4] = [127, 0, 0, 2];
/// How long an attack lasts: several times as long as anything that the edge lets go on.
const TIME: Duration = Duration::from_secs(5);
/// Bodies that the edge holds at once, in these tests.
const BODIES: usize = 8 * 1024 * 1024;
/// What the programs take besides, with what the allocator keeps: the spool, streams, and the honest.
const BASE: u64 = 64 * 1024 * 1024;
/// Honest webhooks before the attack: what is measured then is what it is compared with.
const CALM: usize = 50;

/// A system under attack.
struct Siege {
    system: System,
    yardstick: Yardstick,
    files: usize,
    calm: Measured,
    sent: usize,
}

impl Siege {
    /// Starts the system and its honest sender, and measures how it goes while nobody attacks.
    async fn begin(plan: Plan) -> Self {
        let system = plan.with_spool().adapter("--in-flight-bytes", BODIES.to_string()).start().await;
        let files = system.adapter.open_files();
        let yardstick = Yardstick::begin(system.adapter.listening().http(), None, created);
        wait::until("the honest are heard", || async { (yardstick.answers() >= CALM).then_some(()) }).await;
        let calm = yardstick.so_far();
        Self { system, yardstick, files, sent: calm.sent, calm }
    }

    /// Connects as a stranger.
    async fn stranger(to: std::net::SocketAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((IpAddr::from(STRANGER), 0).into())?;
        socket.connect(to).await
    }

    /// After the attack: nobody honest was refused or kept waiting, and nothing is left of it. `held` is what the
    /// attackers may have made the adapter hold, besides bodies.
    async fn lift(self, what: &str, held: u64) -> System {
        let Self { mut system, yardstick, files, calm, sent } = self;
        let measured = yardstick.end();
        let peak = peak_bytes(&system.adapter);
        println!(
            "{what}: {} honest webhooks, median {:?} (calm: {:?}), p99 {:?} (calm: {:?}); at most {} MiB",
            measured.sent,
            measured.median,
            calm.median,
            measured.p99,
            calm.p99,
            peak / 1024 / 1024
        );
        assert!(measured.is_as_promised(&calm), "{what}: {measured:?}, calm: {calm:?}");
        let bodies = 2 * u64::try_from(BODIES).unwrap();
        assert!(peak < BASE + bodies + held, "{what}: the adapter took {peak} bytes");
        settle(&system.adapter, files + FILES).await;
        let spooled = || async {
            let depth = system.adapter_metrics().await.sum("calbridge_spool_depth", &[]);
            (depth < 0.5).then_some(())
        };
        wait::until("the spool is empty", spooled).await;
        let stored = system.api().all_deliveries(TENANT).await;
        let of = |delivery: &calbridge_e2e::v1::Delivery| delivery.body_sha256.clone();
        let all: std::collections::HashSet<_> = stored.iter().map(of).collect();
        let honest = sent + measured.sent;
        let missing = (0..honest).filter(|number| !all.contains(&sha256(&created(&format!("honest{number}")))));
        assert_eq!(missing.count(), 0, "{what}: every honest webhook is in the store");
        system.adapter.stop().await;
        let said = system.adapter.stderr();
        assert!(!said.contains("panicked") && !said.contains(MARK), "{what}: {said}");
        system
    }
}
