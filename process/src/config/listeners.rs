//! Where a program listens, and what it shows there.

use std::path::PathBuf;

use crate::{
    ConfigError, Options, access,
    tls::{GRPC_PROTOCOLS, HTTP_PROTOCOLS, NamedFile, ServerFiles},
};

/// `HOST:PORT`; whether the host exists is found out by listening.
pub(super) fn listener(option: &'static str, said: Option<String>, default: &str) -> Result<String, ConfigError> {
    let address = said.unwrap_or_else(|| default.to_owned());
    if has_host_and_port(&address) {
        return Ok(address);
    }
    let mend = format!("write it as HOST:PORT, for example {default} (port 0 lets the system pick one)");
    Err(ConfigError::Value { option, value: address, mend })
}

/// What an address is, wherever it stands.
pub(crate) fn has_host_and_port(authority: &str) -> bool {
    let plain = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c));
    authority.rsplit_once(':').is_some_and(|(host, port)| plain(host) && port.parse::<u16>().is_ok())
}

/// The certificate of the HTTP edge.
pub(super) fn http_tls(options: &Options) -> Result<Option<ServerFiles>, ConfigError> {
    let pair = access::pair(
        named("--http-certificate", options.http_certificate.as_ref(), false),
        named("--http-key", options.http_key.as_ref(), true),
    )?;
    server_files(pair, None, HTTP_PROTOCOLS)
}

/// The certificate of the gRPC service, and who may vouch for callers.
pub(super) fn grpc_tls(options: &Options) -> Result<Option<ServerFiles>, ConfigError> {
    let pair = access::pair(
        named("--grpc-certificate", options.grpc_certificate.as_ref(), false),
        named("--grpc-key", options.grpc_key.as_ref(), true),
    )?;
    let client_ca = named("--grpc-client-ca", options.grpc_client_ca.as_ref(), false);
    if let (None, Some(NamedFile { option, path, .. })) = (&pair, &client_ca) {
        let mend = "only TLS knows certificates: say --grpc-certificate and --grpc-key as well".to_owned();
        return Err(ConfigError::Value { option, value: path.display().to_string(), mend });
    }
    server_files(pair, client_ca, GRPC_PROTOCOLS)
}

/// What a listener shows, read once to know that it can be used.
fn server_files(
    pair: Option<(NamedFile, NamedFile)>,
    client_ca: Option<NamedFile>,
    protocols: &'static [&'static [u8]],
) -> Result<Option<ServerFiles>, ConfigError> {
    let Some((certificate, key)) = pair else { return Ok(None) };
    let files = ServerFiles { certificate, key, client_ca, protocols };
    files.check()?;
    Ok(Some(files))
}

fn named(option: &'static str, path: Option<&PathBuf>, secret: bool) -> Option<NamedFile> {
    path.map(|path| NamedFile { option, path: path.clone(), secret })
}
