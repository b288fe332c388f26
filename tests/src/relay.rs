//! A wire between a client and a server that can be made to lose what the client says: the server's words still arrive.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Enough for a frame of HTTP/2.
const CHUNK: usize = 16 * 1024;

/// Carries connections to one server for as long as the test runs.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    deaf: Arc<AtomicBool>,
}

impl Relay {
    /// A relay to this server, on a port that the kernel picks.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let deaf = Arc::new(AtomicBool::new(false));
        let hears_nothing = Arc::clone(&deaf);
        thread::spawn(move || {
            for client in listener.incoming() {
                // Whoever went away again meanwhile, at either end, is met by the other one.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { continue };
                carry(&client, &server, Some(Arc::clone(&hears_nothing)));
                carry(&server, &client, None);
            }
        });
        Self { address, deaf }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing that a client says arrives.
    pub fn lose_what_clients_say(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }
}

/// Carries bytes from one end to the other until the first is closed.
fn carry(from: &TcpStream, to: &TcpStream, deaf: Option<Arc<AtomicBool>>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let lost = deaf.as_ref().is_some_and(|deaf| deaf.load(Ordering::SeqCst));
            if !lost && to.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        // The other end may be closed already.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
