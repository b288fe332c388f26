//! Who calls, and what for: from a token or a certificate to a named principal, before anything of a call is read.
//!
//! Invariant: where principals are configured, nobody is let in without being one of them, wherever he calls from. What
//! is presented is compared with all of them in a time that says nothing of how near it came.

mod certificate;
mod layer;
mod token;

use std::sync::Arc;

use calbridge_process::{Principal, Scope};
use calbridge_telemetry::rpc::Known;
use tonic::Request;

pub(crate) use self::{layer::Door, token::presented};

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody is configured, so everybody who reaches us may do everything: [`crate::check_exposure`] sees to it that
    /// that is this machine, or that its operator insists.
    Anybody,
    /// One of those that are configured.
    Known(Arc<Principal>),
    /// A request that did not come through the door. There is none; if there were one, it would be let see nothing.
    Nobody,
}

/// Why a call is refused before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Neither a token nor a certificate that anybody is known by.
    TokenMissing,
    /// A token that nobody has.
    TokenInvalid,
    /// A principal that has none of the scopes which the method asks for.
    ScopeMissing(&'static [Scope]),
    /// No method of ours.
    Unknown,
}

/// Knows all principals.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    principals: Arc<[Arc<Principal>]>,
}

/// Who a request is by, as far as is known. Found out before anything is told of it.
#[derive(Debug, Clone)]
struct Met(Result<Caller, Denied>);

/// Whom the certificate of a connection names. Looked at once, when the connection is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown(Option<Arc<Principal>>);

impl Guard {
    pub(crate) fn new(principals: &[Principal]) -> Self {
        Self { principals: principals.iter().cloned().map(Arc::new).collect() }
    }

    /// Whom a certificate names for which the listener's authority has vouched; of several the first of the file.
    pub(crate) fn by_certificate(&self, der: &[u8]) -> Shown {
        let names = certificate::names(der);
        let is_his = |principal: &&Arc<Principal>| principal.certificates.iter().any(|name| names.contains(name));
        Shown(self.principals.iter().find(is_his).cloned())
    }

    /// Looks at who a request is by, and marks it for those within.
    pub(crate) fn meet<B>(&self, mut request: http::Request<B>) -> http::Request<B> {
        let caller = self.identify(request.headers(), request.extensions().get::<Shown>());
        if caller.is_ok() {
            request.extensions_mut().insert(Known);
        }
        request.extensions_mut().insert(Met(caller));
        request
    }

    /// Who a call is by: the token decides, where there is one; else the certificate.
    fn identify(&self, headers: &http::HeaderMap, shown: Option<&Shown>) -> Result<Caller, Denied> {
        if self.principals.is_empty() {
            return Ok(Caller::Anybody);
        }
        match (token::presented(headers)?, shown) {
            (Some(token), _) => token::owner(&self.principals, token).ok_or(Denied::TokenInvalid).map(Caller::Known),
            (None, Some(Shown(Some(principal)))) => Ok(Caller::Known(Arc::clone(principal))),
            (None, _) => Err(Denied::TokenMissing),
        }
    }
}

impl Caller {
    /// Who a request is by, as the door found.
    pub(crate) fn of<M>(request: &Request<M>) -> Self {
        request.extensions().get().cloned().unwrap_or(Self::Nobody)
    }

    /// Whether he may do this.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known(principal) => principal.scopes.has(scope),
            Self::Nobody => false,
        }
    }

    /// Whether he knows of this tenant.
    pub(crate) fn knows(&self, tenant: &str) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known(principal) => principal.tenants.has(tenant),
            Self::Nobody => false,
        }
    }

    /// Whether he knows of all tenants.
    pub(crate) fn knows_all(&self) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known(principal) => matches!(principal.tenants, calbridge_process::Tenants::Every),
            Self::Nobody => false,
        }
    }

    /// As log lines name him.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Anybody => "anonymous",
            Self::Known(principal) => &principal.name,
            Self::Nobody => "nobody",
        }
    }
}

#[cfg(test)]
mod tests;
