//! An authority of a test's own, and the certificates that it signs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// Signs certificates, and writes them down.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, in PEM form.
#[derive(Debug)]
pub struct Identity {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

impl Authority {
    /// One that nobody knows yet.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose holder and signer have one name for one that signed itself.
        parameters.distinguished_name.push(DnType::CommonName, "the tests' authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The file of its own certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for this name.
    #[must_use]
    pub fn certify(&self, name: &str) -> Identity {
        self.sign(name, name, CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// One whose time is over.
    #[must_use]
    pub fn expired(&self, name: &str) -> Identity {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.sign(name, &format!("{name}.expired"), parameters)
    }

    fn sign(&self, name: &str, file: &str, mut parameters: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        // Where a client's certificate says who it is.
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let write = |end: &str, text: String| {
            let path = self.folder.path().join(format!("{file}.{end}"));
            fs::write(&path, text).unwrap();
            path
        };
        Identity { certificate: write("cert", certificate.pem()), key: write("key", key.serialize_pem()) }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A file's path as the value of an option.
#[must_use]
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
