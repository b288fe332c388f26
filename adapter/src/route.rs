//! Which paths are webhooks, and of which tenant. Pure: no configuration, no I/O.
//!
//! A path is compared byte for byte: nothing is decoded, folded or trimmed, so one tenant has one URL.

/// The tenant of the paths that name none.
const DEFAULT_TENANT: &str = "default";

/// The path that names its tenant, as `http.route` shows it.
const WITH_TENANT: &str = "/webhooks/calcom/{tenant}";

/// What stands before the tenant's name in [`WITH_TENANT`].
const WITH_TENANT_PREFIX: &str = "/webhooks/calcom/";

/// The paths of the tenant `default`: its own, and those that receivers before us commonly had.
const DEFAULT_PATHS: [&str; 4] =
    ["/webhooks/calcom", "/api/webhooks/calcom", "/api/webhooks/cal-com", "/api/calcom-webhook"];

/// A path that takes webhooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    /// Of low cardinality: what spans and metrics may show of any request.
    pub(crate) template: &'static str,
    /// As the path has it, which may be no tenant's name at all.
    pub(crate) tenant: &'a str,
}

/// The route of a path (without its query), or none where there is nothing.
pub(crate) fn resolve(path: &str) -> Option<Route<'_>> {
    if let Some(template) = DEFAULT_PATHS.iter().find(|known| **known == path) {
        return Some(Route { template, tenant: DEFAULT_TENANT });
    }
    let tenant = path.strip_prefix(WITH_TENANT_PREFIX)?;
    if tenant.is_empty() || tenant.contains('/') {
        return None;
    }
    Some(Route { template: WITH_TENANT, tenant })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_one_segment_taken_as_it_stands() {
        for name in ["acme", "default", "a-b_c", "ACME", "a%2fb", "..", "a.b"] {
            let path = format!("/webhooks/calcom/{name}");
            assert_eq!(resolve(&path), Some(Route { template: "/webhooks/calcom/{tenant}", tenant: name }));
        }
    }

    #[test]
    fn the_tenant_default_has_four_paths_more() {
        for path in ["/webhooks/calcom", "/api/webhooks/calcom", "/api/webhooks/cal-com", "/api/calcom-webhook"] {
            assert_eq!(resolve(path), Some(Route { template: path, tenant: "default" }));
        }
    }

    #[test]
    fn anything_else_is_no_route() {
        for path in [
            "",
            "/",
            "*",
            "/webhooks",
            "/webhooks/calcom/",
            "/webhooks/calcom/acme/",
            "/webhooks/calcom/acme/more",
            "/webhooks/calcom//acme",
            "/Webhooks/calcom/acme",
            "/api/webhooks/calcom/",
            "/api/webhooks/calcom/acme",
            "//webhooks/calcom/acme",
        ] {
            assert_eq!(resolve(path), None, "{path}");
        }
    }
}
