use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const FIRST: Duration = Duration::from_secs(10);

fn pair() -> (Wire<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(64);
    (Wire::new(ours, FIRST), theirs)
}

#[tokio::test(start_paused = true)]
async fn until_the_protocol_is_known_the_time_runs() {
    for start in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let (mut wire, mut peer) = pair();
        peer.write_all(start).await.unwrap();
        let started = time::Instant::now();
        let mut read = Vec::new();
        let why = wire.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((why.kind(), started.elapsed(), read.as_slice()), (io::ErrorKind::TimedOut, FIRST, start));
    }
}

#[tokio::test(start_paused = true)]
async fn from_then_on_it_does_not() {
    for (start, end) in [("PO", "ST /"), ("PRI * HTTP/2.0\r\n\r\nSM\r", "\n\r\n"), ("PRI * HTTP/2.0\r\n\r\nSX", "")] {
        let (mut wire, mut peer) = pair();
        let reader = tokio::spawn(async move {
            let mut read = String::new();
            wire.read_to_string(&mut read).await.map(|_| read)
        });
        peer.write_all(start.as_bytes()).await.unwrap();
        time::sleep(FIRST / 2).await;
        peer.write_all(end.as_bytes()).await.unwrap();
        time::sleep(FIRST * 2).await;
        drop(peer);
        assert_eq!(reader.await.unwrap().unwrap(), format!("{start}{end}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_given_up() {
    let (mut wire, mut peer) = pair();
    let started = time::Instant::now();
    let written = wire.write_all(&[0; 1000]).await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed(), WRITE_TIMEOUT);

    // One that reads slowly is not: each byte it takes begins the time anew.
    let (mut wire, mut slow) = pair();
    let reader = tokio::spawn(async move {
        for _ in 0..4 {
            time::sleep(WRITE_TIMEOUT.mul_f64(0.9)).await;
            slow.read_exact(&mut [0; 64]).await.unwrap();
        }
        slow
    });
    wire.write_all(&[0; 256]).await.unwrap();
    drop(reader.await.unwrap());
    peer.read_u8().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_still_on_its_way_but_not_for_ever() {
    let (mut wire, mut peer) = pair();
    let started = time::Instant::now();
    let writer = tokio::spawn(async move {
        peer.write_all(&[0; 1000]).await.unwrap();
        peer
    });
    wire.shutdown().await.unwrap();
    assert_eq!(started.elapsed(), LINGER_TIME, "the peer has sent all and does not close");
    let mut peer = writer.await.unwrap();
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0, "our side is ended");

    let (mut wire, peer) = pair();
    drop(peer);
    let started = time::Instant::now();
    wire.shutdown().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody is there to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_without_end_is_cut() {
    let (ours, mut peer) = duplex(1024 * 1024);
    let mut wire = Wire::new(ours, FIRST);
    let writer = tokio::spawn(async move {
        let mut sent = 0;
        while peer.write_all(&[0; 8192]).await.is_ok() {
            sent += 8192;
        }
        sent
    });
    let started = time::Instant::now();
    wire.shutdown().await.unwrap();
    assert!(started.elapsed() < LINGER_TIME);
    drop(wire);
    assert!(writer.await.unwrap() <= LINGER_BYTES + 2 * 1024 * 1024);
}

#[tokio::test]
async fn a_peer_that_sends_much_takes_turns() {
    const TURNS: usize = 8;
    let (ours, mut theirs) = duplex(TURNS * TURN_BYTES);
    let mut wire = Wire::new(ours, FIRST);
    theirs.write_all(&[b'x'; TURNS * TURN_BYTES]).await.unwrap();
    let mut read = vec![0; TURNS * TURN_BYTES];
    // Parts of a turn's size, as a reader with a buffer of its own has them.
    let mut reading = std::pin::pin!(async {
        for part in read.chunks_mut(TURN_BYTES / 4) {
            wire.read_exact(part).await.unwrap();
        }
    });
    let mut turns = 1;
    while futures_util::poll!(reading.as_mut()).is_pending() {
        turns += 1;
    }
    assert_eq!(turns, TURNS);
}
