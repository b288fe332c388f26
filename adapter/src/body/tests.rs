use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::Full;
use hyper::body::Frame;
use proptest::prelude::*;

use super::*;

/// Chunks that come one a second; an `Err` where one is broken.
struct Chunks(VecDeque<Result<Bytes, &'static str>>, Option<Pin<Box<tokio::time::Sleep>>>);

impl Chunks {
    fn new<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(chunks.into_iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect(), None)
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let pause = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_secs(1))));
        std::task::ready!(pause.as_mut().poll(context));
        self.1 = None;
        Poll::Ready(self.0.pop_front().map(|chunk| chunk.map(Frame::data)))
    }
}

const LONG: Duration = Duration::from_secs(1000);

fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes))
}

#[tokio::test(start_paused = true)]
async fn a_body_holds_its_bytes_for_as_long_as_it_lives() {
    let budget = budget(10);
    let received = receive(Chunks::new([&b"abc"[..], b"", b"defg"]), 10, LONG, &budget).await.unwrap();
    assert_eq!((&received.bytes[..], budget.available_permits()), (&b"abcdefg"[..], 3));
    let refused = receive(Chunks::new([&b"1234"[..]]), 10, LONG, &budget).await;
    assert_eq!(refused.unwrap_err(), BodyError::NoRoom);
    drop(received);
    assert_eq!(budget.available_permits(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_holds_nothing() {
    let budget = budget(100);
    for (chunks, limit, time, why) in [
        (Chunks::new([&b"abcd"[..], b"e"]), 4, LONG, BodyError::TooLarge),
        (Chunks::new([&b"abcd"[..], b"e"]), 10, Duration::from_millis(2500), BodyError::TooSlow),
        (Chunks(VecDeque::from([Ok(Bytes::from("ab")), Err("cut")]), None), 10, LONG, BodyError::Broken),
    ] {
        assert_eq!(receive(chunks, limit, time, &budget).await.unwrap_err(), why);
        assert_eq!(budget.available_permits(), 100, "{why:?}");
    }
}

#[tokio::test]
async fn a_body_of_one_chunk_is_not_copied() {
    let chunk = Bytes::from(vec![b'x'; 1000]);
    let received = receive(Full::new(chunk.clone()), 1000, LONG, &budget(1000)).await.unwrap();
    assert_eq!(received.bytes.as_ptr(), chunk.as_ptr());
}

#[test]
fn a_declared_length_is_compared_with_the_limit() {
    assert!(!declares_more_than(&Full::new(Bytes::from_static(b"1234")), 4));
    assert!(declares_more_than(&Full::new(Bytes::from_static(b"12345")), 4));
    assert!(!declares_more_than(&Chunks::new([&b"12345"[..]]), 4), "nothing is declared");
}

proptest! {
    #[test]
    fn chunks_make_the_body_that_was_cut_into_them(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let whole = chunks.concat();
        let body = Chunks::new(chunks.iter().map(Vec::as_slice));
        let received = runtime.block_on(async { receive(body, 400, LONG, &budget(400)).await.unwrap() });
        prop_assert_eq!(&received.bytes[..], &whole[..]);
    }
}
