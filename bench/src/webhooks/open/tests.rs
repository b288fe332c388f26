use std::{
    io::{Read, Write},
    net::TcpListener,
};

use jiff::Timestamp;

use super::*;
use crate::webhooks::body::{Bodies, Mix, Traffic};

const SCHEDULE: Schedule =
    Schedule { rate: 200, warm_up: Duration::from_millis(100), counted: Duration::from_millis(400) };

#[test]
fn webhooks_are_due_one_after_the_other() {
    assert_eq!(SCHEDULE.count(), 100);
    assert_eq!(SCHEDULE.due(0), Duration::ZERO);
    assert_eq!(SCHEDULE.due(20), SCHEDULE.warm_up);
    assert_eq!(SCHEDULE.due(99), Duration::from_millis(495));
}

/// Answers one webhook after the other, the first of them after `pause`.
fn slow_at_first(pause: Duration) -> std::net::SocketAddr {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"outcome\":\"applied\"}";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut pause = Some(pause);
        let mut read = Vec::new();
        let mut room = [0; 8 * 1024];
        loop {
            let count = stream.read(&mut room).unwrap_or(0);
            if count == 0 {
                return;
            }
            read.extend_from_slice(&room[..count]);
            // Only one webhook is under way at a time, and the end of every body is the same.
            if read.ends_with(b"}}") {
                thread::sleep(pause.take().unwrap_or_default());
                read.clear();
                stream.write_all(OK).unwrap();
            }
        }
    });
    address
}

#[test]
fn those_behind_a_slow_answer_are_timed_from_when_they_were_due() {
    let traffic = Traffic { mix: Mix::Created, copies_per_thousand: 0 };
    let pause = Duration::from_millis(300);
    let bodies = Bodies::new(Timestamp::UNIX_EPOCH, traffic);
    let target = Arc::new(Target::new(slow_at_first(pause), bodies, Vec::new()));
    let sample = run(&target, 1, SCHEDULE).unwrap();
    assert_eq!(sample.latency.count(), 80, "those after the warm-up");
    // The first counted one was due after 100 ms and could be sent after 300 ms; a loop that waits for its answers
    // would have seen one slow answer, and that in the warm-up.
    let latency = sample.latency.percentiles();
    assert!(latency.most >= 195.0, "{latency:?}");
    assert!(latency.p50 < latency.most, "{latency:?}");
}

#[test]
fn a_target_that_is_not_there_is_an_error() {
    let traffic = Traffic { mix: Mix::Created, copies_per_thousand: 0 };
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], calbridge_e2e::port::free()));
    let target = Arc::new(Target::new(address, Bodies::new(Timestamp::UNIX_EPOCH, traffic), Vec::new()));
    assert!(run(&target, 2, SCHEDULE).unwrap_err().to_string().contains("connecting to"));
}
