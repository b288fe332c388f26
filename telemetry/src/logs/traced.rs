//! Log lines learn here which trace they belong to: when they are written, from the span that is entered. Most spans
//! see no line; to tell OpenTelemetry of each as it is entered and left would be work for nothing.

use std::sync::OnceLock;

use tracing::dispatcher::WeakDispatch;
use tracing::{Dispatch, Event, Subscriber};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// Where the SDK's own events come from.
const SDK: &str = "opentelemetry";

/// Log lines, each written inside the OpenTelemetry context of its span.
#[derive(Debug)]
pub(crate) struct Traced<L> {
    lines: L,
    /// Where the spans are looked up; it owns this layer.
    dispatch: OnceLock<WeakDispatch>,
}

impl<L> Traced<L> {
    /// `lines` must be a layer that asks for events alone.
    pub(crate) fn new(lines: L) -> Self {
        Self { lines, dispatch: OnceLock::new() }
    }

    /// The context of the innermost exported span that an event happens in, or none. Starts that span.
    fn context<S: Subscriber>(&self, event: &Event<'_>, all: &Context<'_, S>) -> Option<opentelemetry::Context> {
        // The SDK says what it has to say while it works on a span, which then can't be asked.
        if event.metadata().target().starts_with(SDK) {
            return None;
        }
        let dispatch = self.dispatch.get()?.upgrade()?;
        let entered = all.current_span();
        let span = if event.is_contextual() { entered.id() } else { event.parent() };
        // Not by `all`: the filter of lines lets no span through.
        let innermost = dispatch.downcast_ref::<Registry>()?.span(span?)?;
        innermost.scope().find_map(|span| get_otel_context(&span.id(), &dispatch))
    }
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Traced<L> {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // A layer belongs to one dispatch.
        let _ = self.dispatch.set(dispatch.downgrade());
        self.lines.on_register_dispatch(dispatch);
    }

    fn on_event(&self, event: &Event<'_>, all: Context<'_, S>) {
        let _inside = self.context(event, &all).map(opentelemetry::Context::attach);
        self.lines.on_event(event, all);
    }
}
