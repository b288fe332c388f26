//! A wire between clients and a server, and everything bad that can happen to one: it is slow, it stands still, it
//! loses what is said, it is cut.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    select,
    sync::watch,
    time::sleep,
};

/// Enough for a frame of HTTP/2.
const CHUNK: usize = 16 * 1024;

/// What becomes of the bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They arrive.
    Clear,
    /// They arrive, each piece so much later.
    Slow(Duration),
    /// They arrive when the weather is another.
    Held,
    /// What clients say is lost.
    Deaf,
    /// Whatever is said is lost.
    Lost,
}

/// What becomes of the connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ends find them reset.
    Reset,
    /// The server is told that its clients have nothing more to say, and they are not.
    ClientsEnd,
    /// Clients are told that the server has nothing more to say, and it is not.
    ServerEnds,
}

/// Carries connections to one server for as long as the runtime runs.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// The newest, and a number of its own.
    cut: watch::Sender<(u64, Option<Cut>)>,
}

/// One connection's view of both.
#[derive(Clone)]
struct Wire {
    weather: watch::Receiver<Weather>,
    cut: watch::Receiver<(u64, Option<Cut>)>,
    /// Something was lost of what was said here: what comes after it would be another thing than was meant.
    torn: Arc<AtomicBool>,
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Client,
    Server,
}

impl Relay {
    /// A relay to this server, which need not be there yet, on a port that the kernel picks.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, cut) = (watch::Sender::new(Weather::Clear), watch::Sender::new((0, None)));
        let wire = Wire { weather: weather.subscribe(), cut: cut.subscribe(), torn: Arc::default() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = Wire { torn: Arc::default(), ..wire.clone() };
                tokio::spawn(async move {
                    // A server that is not there is met by the client as an end.
                    if let Ok(server) = TcpStream::connect(server).await {
                        // A wire does not wait for more to carry.
                        let _ = (client.set_nodelay(true), server.set_nodelay(true));
                        wire.join(client, server).await;
                    }
                });
            }
        });
        Self { address, weather, cut }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the weather is this. Connections of which something was lost are reset where it becomes another.
    pub fn have(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts every connection that is open; new ones are carried.
    pub fn cut(&self, how: Cut) {
        self.cut.send_modify(|(number, cut)| {
            *number += 1;
            *cut = Some(how);
        });
    }
}

impl Wire {
    /// Carries bytes both ways until both are ended, or the wire is cut.
    async fn join(mut self, mut client: TcpStream, mut server: TcpStream) {
        self.cut.mark_unchanged();
        {
            let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
            let (there, back) = (self.clone(), self.clone());
            let carried = async {
                let there = there.carry(from_client, to_server, Speaker::Client);
                let back = back.carry(from_server, to_client, Speaker::Server);
                tokio::try_join!(there, back)
            };
            select! {
                carried = carried => if carried.is_ok() { return },
                () = self.is_reset() => {}
            }
        }
        // An end that is gone already has nothing to be told.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }

    async fn is_reset(&mut self) {
        loop {
            select! {
                Ok(()) = self.cut.changed() => if self.cut.borrow_and_update().1 == Some(Cut::Reset) { return },
                Ok(()) = self.weather.changed() => {
                    let loses = matches!(*self.weather.borrow_and_update(), Weather::Deaf | Weather::Lost);
                    if !loses && self.torn.load(Ordering::SeqCst) {
                        return;
                    }
                }
                else => return,
            }
        }
    }

    /// One way. Ends when the speaker has, or is made to.
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, who: Speaker) -> io::Result<()> {
        let ends = if who == Speaker::Client { Cut::ClientsEnd } else { Cut::ServerEnds };
        let mut chunk = vec![0; CHUNK];
        let mut is_over = false;
        loop {
            let length = select! {
                length = from.read(&mut chunk) => length?,
                Ok(()) = self.cut.changed() => {
                    if !is_over && self.cut.borrow_and_update().1 == Some(ends) {
                        is_over = true;
                        to.shutdown().await?;
                    }
                    continue;
                }
            };
            if length == 0 {
                return if is_over { Ok(()) } else { to.shutdown().await };
            }
            if !is_over && self.arrives(who).await {
                to.write_all(&chunk[..length]).await?;
            }
        }
    }

    /// When what was said now arrives; false where it never does.
    async fn arrives(&mut self, who: Speaker) -> bool {
        // A sender that is gone changes no weather any more.
        let weather = self.weather.wait_for(|weather| *weather != Weather::Held).await.map(|weather| *weather);
        match (weather.unwrap_or(Weather::Clear), who) {
            (Weather::Slow(pause), _) => sleep(pause).await,
            (Weather::Lost, _) | (Weather::Deaf, Speaker::Client) => {
                self.torn.store(true, Ordering::SeqCst);
                return false;
            }
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::tcp, time::timeout};

    use super::*;
    use crate::wait;

    /// Long enough to see that nothing comes.
    const NOTHING: Duration = Duration::from_millis(100);

    /// A server that says whatever it hears, and a client of it.
    async fn echo() -> (Relay, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to): (tcp::ReadHalf<'_>, tcp::WriteHalf<'_>) = client.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let relay = Relay::to(server).await;
        let client = TcpStream::connect(relay.address()).await.unwrap();
        (relay, client)
    }

    async fn says(client: &mut TcpStream, what: &[u8]) {
        client.write_all(what).await.unwrap();
    }

    async fn hears(client: &mut TcpStream, what: &[u8]) {
        let mut heard = vec![0; what.len()];
        wait::within("it comes back", client.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, what);
    }

    async fn hears_nothing(client: &mut TcpStream) {
        assert!(timeout(NOTHING, client.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_held_or_slow_arrives_in_the_end() {
        let (relay, mut client) = echo().await;
        says(&mut client, b"one").await;
        hears(&mut client, b"one").await;
        relay.have(Weather::Held);
        says(&mut client, b"two").await;
        hears_nothing(&mut client).await;
        relay.have(Weather::Slow(Duration::from_millis(1)));
        hears(&mut client, b"two").await;
    }

    #[tokio::test]
    async fn a_connection_that_lost_something_is_no_connection_any_more() {
        for weather in [Weather::Lost, Weather::Deaf] {
            let (relay, mut client) = echo().await;
            relay.have(weather);
            says(&mut client, b"lost").await;
            hears_nothing(&mut client).await;
            relay.have(Weather::Clear);
            let end = wait::within("it is reset", client.read_u8()).await.unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
            let mut client = TcpStream::connect(relay.address()).await.unwrap();
            says(&mut client, b"kept").await;
            hears(&mut client, b"kept").await;
        }
    }

    #[tokio::test]
    async fn connections_are_cut_whole_or_in_half() {
        let (relay, mut client) = echo().await;
        says(&mut client, b"one").await;
        hears(&mut client, b"one").await;
        relay.cut(Cut::ServerEnds);
        let end = wait::within("the server seems to have ended", client.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        says(&mut client, b"into the dark").await;

        let (relay, mut client) = echo().await;
        says(&mut client, b"two").await;
        hears(&mut client, b"two").await;
        // The server hears an end, and ends.
        relay.cut(Cut::ClientsEnd);
        assert!(wait::within("the server has ended", client.read_u8()).await.is_err());

        let (relay, mut client) = echo().await;
        says(&mut client, b"three").await;
        hears(&mut client, b"three").await;
        relay.cut(Cut::Reset);
        let end = wait::within("it is reset", client.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    }
}
