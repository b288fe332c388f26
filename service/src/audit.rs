//! Who read personal data in the clear: one line each, in the log. The lines of this module are those that no filter of
//! the log leaves out ([`calbridge_telemetry::AUDIT`]).

use calbridge_telemetry::semconv;
use tracing::info;
use uuid::Uuid;

use crate::auth::Caller;

/// A caller is given the raw body of a delivery: who, of whom, what; nothing of what is in it.
pub(crate) fn raw_body(caller: &Caller, tenant: &str, delivery_id: Uuid) {
    info!(
        { semconv::PRINCIPAL } = caller.name(),
        { semconv::TENANT_ID } = tenant,
        { semconv::DELIVERY_ID } = %delivery_id,
        "audit: the raw body of a delivery was asked for"
    );
}
