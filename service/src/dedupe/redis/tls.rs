//! The operator's certificates for `rediss://`, checked before anything is connected.

use calbridge_process::RedisTls;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use secrecy::ExposeSecret;

use super::RedisError;

/// What the client takes. The parser's own words are not repeated: they may quote a line of a key.
pub(super) fn certificates(tls: &RedisTls) -> Result<TlsCertificates, RedisError> {
    let root_cert = tls.ca.as_ref().map(|pem| authorities(pem)).transpose()?;
    let client_tls = match &tls.client {
        None => None,
        Some((certificate, key)) => {
            chain("--redis-cert-file", certificate)?;
            let key = key.expose_secret();
            PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| RedisError::Pem("--redis-key-file", "private key"))?;
            Some(ClientTlsConfig { client_cert: certificate.clone().into_bytes(), client_key: key.into() })
        }
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

fn authorities(pem: &str) -> Result<Vec<u8>, RedisError> {
    let mut store = RootCertStore::empty();
    for certificate in chain("--redis-ca-file", pem)? {
        store.add(certificate).map_err(|_| RedisError::Pem("--redis-ca-file", "certificate"))?;
    }
    Ok(pem.as_bytes().to_vec())
}

/// One certificate at the least: without any every server would be refused, and nobody would know why.
fn chain(option: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, RedisError> {
    match CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(RedisError::Pem(option, "certificate")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn made() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["redis".into()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_is_no_pem_is_refused_by_its_option_and_never_repeated() {
        let (certificate, key) = made();
        let tls = |ca: &str, certificate: &str, key: &str| RedisTls {
            ca: Some(ca.to_owned()),
            client: Some((certificate.to_owned(), key.into())),
        };
        assert!(certificates(&tls(&certificate, &certificate, &key)).is_ok());
        for (tls, option) in [
            (tls("", &certificate, &key), "--redis-ca-file"),
            (tls(&key, &certificate, &key), "--redis-ca-file"),
            (tls(&certificate, "-----BEGIN hunter2", &key), "--redis-cert-file"),
            (tls(&certificate, &certificate, "-----BEGIN hunter2"), "--redis-key-file"),
            (tls(&certificate, &certificate, &certificate), "--redis-key-file"),
        ] {
            let Err(error) = certificates(&tls) else { panic!("{option}") };
            let text = format!("{error} {error:?}");
            assert!(text.contains(option) && !text.contains("hunter2"), "{text}");
        }
    }
}
