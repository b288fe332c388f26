//! How an event that is already encoded goes on the stream.
//!
//! The bytes are those of `SubmitEventsRequest`, so the service sees an ordinary call; but an event is encoded once, by
//! the request that brought it, and sending it again costs no second encoding on the one connection that all share.

use bytes::{BufMut as _, Bytes};
use calbridge_proto::{FRAME_BYTES, v1::SubmitEventsResponse};
use prost::encoding::{self, WireType};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

/// Numbers of `SubmitEventsRequest`'s fields.
const SEQUENCE: u32 = 1;
const EVENT: u32 = 2;

/// What is written in one piece: one frame, since what is more would be cut into two. The allocator has pieces of this
/// size at hand for a thread, and larger ones not.
const PIECE_BYTES: usize = FRAME_BYTES as usize;

/// A piece that has so much is sent: one more event of common size fits into it.
const PIECE_FULL_BYTES: usize = 24 * 1024;

/// One `SubmitEventsRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Unique among all that this process sends.
    pub(crate) sequence: u64,
    /// An encoded `BookingEvent`.
    pub(crate) event: Bytes,
}

/// Frames out, answers in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SubmitCodec;

impl Codec for SubmitCodec {
    type Encode = Frame;
    type Decode = SubmitEventsResponse;
    type Encoder = FrameEncoder;
    type Decoder = ProstDecoder<SubmitEventsResponse>;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

/// Writes a frame as `SubmitEventsRequest`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(PIECE_BYTES, PIECE_FULL_BYTES)
    }

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        encoding::uint64::encode(SEQUENCE, &frame.sequence, buffer);
        encoding::encode_key(EVENT, WireType::LengthDelimited, buffer);
        // A length of this platform fits into 64 bits.
        encoding::encode_varint(frame.event.len() as u64, buffer);
        buffer.put(frame.event);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use calbridge_proto::v1::{BookingEvent, SubmitEventsRequest};
    use futures_util::stream;
    use http_body_util::BodyExt as _;
    use prost::Message as _;
    use tonic::codec::EncodeBody;

    use super::*;

    #[tokio::test]
    async fn a_frame_is_an_ordinary_request_on_the_wire() {
        let event = BookingEvent { tenant: "acme".to_owned(), raw_body: vec![7; 300].into(), ..Default::default() };
        for sequence in [1, 300, u64::MAX] {
            let frame = Frame { sequence, event: event.encode_to_vec().into() };
            let frames = stream::iter([Ok(frame)]);
            let body = EncodeBody::new_client(SubmitCodec.encoder(), frames, None, None);
            let bytes = body.collect().await.unwrap().to_bytes();
            // gRPC puts five bytes before each message: a flag and the length.
            let request = SubmitEventsRequest::decode(&bytes[5..]).unwrap();
            assert_eq!(request, SubmitEventsRequest { sequence, event: Some(event.clone()) });
        }
    }

    #[tokio::test]
    async fn a_burst_goes_in_pieces_that_fill_a_frame_and_fit_it() {
        let frame = |sequence| Ok(Frame { sequence, event: vec![7; 4_000].into() });
        let frames = stream::iter((0..64).map(frame));
        let mut body = pin!(EncodeBody::new_client(SubmitCodec.encoder(), frames, None, None));
        let mut pieces = Vec::new();
        while let Some(piece) = body.frame().await {
            pieces.push(piece.unwrap().into_data().unwrap().len());
        }
        let last = pieces.pop();
        assert!(last.is_some() && pieces.len() > 5, "{pieces:?}");
        assert!(pieces.iter().all(|bytes| (PIECE_FULL_BYTES..=PIECE_BYTES).contains(bytes)), "{pieces:?}");
    }
}
