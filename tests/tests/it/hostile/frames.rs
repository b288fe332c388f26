//! HTTP/2 as a weapon: streams that are reset as soon as they are opened, or made to be reset; floods of pings and
//! settings whose answers nobody reads; windows that never open; more streams than there may be.

use std::time::Duration;

use calbridge_e2e::{
    frames::{ACK, END_HEADERS, END_STREAM, Kind, frame, next, opening, post},
    siege::attack,
    system::Plan,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Siege, TIME};

/// Connections at once.
const ATTACKERS: usize = 14;
/// Streams of one connection, or other frames: thousands a second from each.
const FRAMES: u32 = 3_000;
/// Of frames that open no stream, each of which would cost the edge an answer.
const FLOOD: usize = 20_000;
/// After what is written: the edge is tested here, and not who gets more of the processor.
const REST: Duration = Duration::from_millis(300);
/// For frames that nobody takes.
const PATIENCE: Duration = Duration::from_secs(1);
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const WINDOW: u16 = 0x4;
/// What the edge may hold of each: buffers of both directions, and heads of as many streams as may be open.
const HELD_EACH: u64 = 2 * 1024 * 1024;

/// A connection's frames, and whether the attacker reads what comes back.
#[derive(Clone)]
struct Weapon {
    frames: Vec<u8>,
    reads: bool,
    /// Whether it is so much against the rules that the connection must be ended.
    is_cut: bool,
}

#[tokio::test]
async fn http_2_is_no_weapon() {
    let siege = Siege::begin(Plan::new()).await;
    let edge = siege.system.adapter.listening().http();
    let weapons: &'static [Weapon] = Vec::leak(weapons());
    attack(ATTACKERS, TIME, |attacker| async move {
        let weapon = &weapons[attacker % weapons.len()];
        let Ok(mut socket) = Siege::stranger(edge).await else { return };
        let _ = timeout(PATIENCE, socket.write_all(&weapon.frames)).await;
        if weapon.reads {
            let is_cut = read(&mut socket).await;
            assert!(is_cut || !weapon.is_cut, "weapon {} is let go on", attacker % weapons.len());
        }
        sleep(REST).await;
    })
    .await;
    let held = u64::try_from(ATTACKERS).unwrap() * HELD_EACH;
    siege.lift("HTTP/2 as a weapon", held).await.service.stop().await;
}

/// Reads what is there; whether the connection was ended, by a word or without.
async fn read(socket: &mut TcpStream) -> bool {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match timeout(PATIENCE, socket.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(count)) => bytes.extend_from_slice(&buffer[..count]),
            Err(_) => break,
        }
    }
    let mut rest = bytes.as_slice();
    while let Some((kind, behind)) = next(rest) {
        if kind == Kind::GoAway as u8 {
            return true;
        }
        rest = behind;
    }
    false
}

fn weapons() -> Vec<Weapon> {
    let streams = || (0..FRAMES).map(|number| 2 * number + 1);
    let head = post("/webhooks/calcom");
    let open = |flags: u8, stream| frame(Kind::Headers, flags | END_HEADERS, stream, &head);
    let reset = |stream| frame(Kind::Reset, 0, stream, &[0, 0, 0, 8]);
    let all = |of: &dyn Fn(u32) -> Vec<u8>| streams().flat_map(of).collect::<Vec<u8>>();
    let weapon =
        |setting, frames: Vec<u8>, reads, is_cut| Weapon { frames: [opening(setting), frames].concat(), reads, is_cut };
    vec![
        // Rapid reset.
        weapon(None, all(&|stream| [open(0, stream), reset(stream)].concat()), true, true),
        // Streams that we are made to reset: a window that is opened by nothing.
        weapon(
            None,
            all(&|stream| [open(0, stream), frame(Kind::WindowUpdate, 0, stream, &[0; 4])].concat()),
            true,
            true,
        ),
        // Pings and settings; who reads no answers must not make us keep them.
        weapon(None, frame(Kind::Ping, 0, 0, &[7; 8]).repeat(FLOOD), true, true),
        weapon(None, frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(FLOOD), false, false),
        weapon(None, frame(Kind::Settings, ACK, 0, &[]).repeat(FLOOD), true, true),
        // Windows that never open.
        weapon(Some((WINDOW, 0)), all(&|stream| open(END_STREAM, stream)), true, false),
        // More streams than there may be, none of which comes to its end.
        weapon(None, all(&|stream| open(0, stream)), true, false),
    ]
}
