//! The door: a tower layer in front of every method that lets in who may call it, and says to the method who that is.
//! [`super::Guard::meet`] has looked at who comes, before anything was told of the call.
//!
//! Invariant: a method that has no row in the table of scopes can't be called at all. Health and reflection need
//! nothing, and learn nothing.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use calbridge_process::Scope;
use futures_util::future::Either;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Caller, Denied, Met};
use crate::api::{needs, refusal};

/// What orchestrators and tools ask for before they know anybody.
const OPEN: [&str; 2] = ["grpc.health.", "grpc.reflection."];

/// Makes the door of a server.
#[derive(Debug, Clone)]
pub(crate) struct Door;

/// A server behind its door.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for Guarded<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        match admit(&request) {
            Ok(Some(caller)) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Ok(None) => Either::Left(self.inner.call(request)),
            Err(denied) => Either::Right(ready(Ok(refusal(denied).into_http()))),
        }
    }
}

/// Who calls; nobody in particular where the method asks for nothing.
fn admit<B>(request: &Request<B>) -> Result<Option<Caller>, Denied> {
    let path = request.uri().path();
    let method = path.strip_prefix('/').unwrap_or(path);
    if OPEN.iter().any(|service| method.starts_with(service)) {
        return Ok(None);
    }
    let scopes: &'static [Scope] = needs(method).ok_or(Denied::Unknown)?;
    let Met(met) = request.extensions().get().cloned().unwrap_or(Met(Err(Denied::TokenMissing)));
    let caller = met?;
    if scopes.iter().any(|scope| caller.has(*scope)) {
        return Ok(Some(caller));
    }
    Err(Denied::ScopeMissing(scopes))
}
