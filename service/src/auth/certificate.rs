//! The names by which a certificate is known. Whether it may be believed was decided in the handshake.

use std::collections::BTreeSet;

use calbridge_process::CertificateName;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

/// Alternative names that are looked at: a certificate of ours has one or two.
const NAMES_MAX: usize = 64;

/// All of them; of one that can't be read the fingerprint alone.
pub(super) fn names(der: &[u8]) -> BTreeSet<CertificateName> {
    let mut names = BTreeSet::from([CertificateName::Sha256(Sha256::digest(der).into())]);
    let der = CertificateDer::from(der);
    if let Ok(certificate) = EndEntityCert::try_from(&der) {
        let dns = certificate.valid_dns_names().map(|name| CertificateName::Dns(name.to_ascii_lowercase()));
        let uris = certificate.valid_uri_names().map(|uri| CertificateName::Uri(uri.to_owned()));
        names.extend(dns.take(NAMES_MAX).chain(uris.take(NAMES_MAX)));
    }
    names
}
