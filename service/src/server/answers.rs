//! What is answered and not yet taken: a tower layer that bounds how much of it there is, for a caller that opens calls
//! and does not read must not have this service hold all that it asked for.
//!
//! Counted is what only reads: what was changed is to be told, and of streams there are so many places, each of which
//! holds a page.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::{
    api::{Places, is_read, overloaded},
    auth::Caller,
    settings::{ANSWER_BYTES, ANSWER_BYTES_OF_ONE},
};

/// Makes the layer of a server.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// One for each byte.
    places: Arc<Places>,
}

/// A server that answers within the bound.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    places: Arc<Places>,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Places::new(ANSWER_BYTES, ANSWER_BYTES_OF_ONE)) }
    }
}

impl<S> Layer<S> for Answers {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, places: Arc::clone(&self.places) }
    }
}

impl<S, RequestBody> Service<Request<RequestBody>> for Counted<S>
where
    S: Service<Request<RequestBody>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The door has put it there, but for methods that anybody may call.
        let caller = request.extensions().get::<Caller>().cloned().filter(|_| is_read(request.uri().path()));
        let (answer, places) = (self.inner.call(request), Arc::clone(&self.places));
        Box::pin(async move {
            let answer = answer.await?;
            Ok(match caller {
                Some(caller) => count(answer, &caller, &places).await,
                None => answer,
            })
        })
    }
}

/// The same answer, which has its places until it is taken or given up; or a refusal where there are none.
async fn count(answer: Response<Body>, caller: &Caller, places: &Places) -> Response<Body> {
    let (head, mut body) = answer.into_parts();
    // A call that reads has one message, and a refusal none.
    let Some(message) = body.frame().await else { return Response::from_parts(head, Body::empty()) };
    let bytes = message.as_ref().ok().and_then(|frame| frame.data_ref()).map_or(0, Bytes::len);
    let Some(place) = places.take(caller, bytes) else { return overloaded().into_http() };
    let frames = stream::iter([message]).chain(BodyStream::new(body)).inspect(move |_| {
        let _until_the_end = &place;
    });
    Response::from_parts(head, Body::new(StreamBody::new(frames)))
}
