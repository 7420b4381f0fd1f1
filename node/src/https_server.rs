//! For tests: an HTTPS server on this machine with a certificate of the test's own
//! authority. It answers as many visitors as it is told, one after the other, each
//! on a connection of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use ureq::tls::RootCerts;

/// A certification authority that exists for one test.
pub(crate) struct Root {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Root {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new(Vec::new()).unwrap();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: wanted.self_signed(&key).unwrap(), key }
    }

    /// A certificate for a server of this name or address.
    pub(crate) fn issue(&self, name: &str) -> CertifiedKey {
        let key_pair = KeyPair::generate().unwrap();
        let wanted = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = wanted.signed_by(&key_pair, &self.certificate, &self.key).unwrap();
        CertifiedKey { cert, key_pair }
    }

    /// What a client knows that trusts this root and no other.
    pub(crate) fn trusted(&self) -> RootCerts {
        let root = ureq::tls::Certificate::from_der(self.certificate.der()).to_owned();
        RootCerts::Specific(Arc::new(vec![root]))
    }
}

/// Answers `visits` visitors by `answer`, which is given what each asked for: head
/// and body. The thread ends with all that was asked.
pub(crate) fn serve(
    certificate: &CertifiedKey,
    visits: usize,
    mut answer: impl FnMut(&str) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let config = Arc::new(config(certificate));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut visit = move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let (mut asked, mut chunk) = (Vec::new(), [0; 1024]);
        while !is_whole(&asked) {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(read) => asked.extend_from_slice(&chunk[..read]),
            }
        }
        let asked = String::from_utf8_lossy(&asked).into_owned();
        if !asked.is_empty() {
            // A visitor may have gone away, which is what some of the tests are about.
            let _gone = stream.write_all(&answer(&asked)).and_then(|()| stream.flush());
        }
        stream.conn.send_close_notify();
        let _gone = stream.flush();
        asked
    };
    (address, thread::spawn(move || (0..visits).map(|_| visit()).collect()))
}

fn config(certificate: &CertifiedKey) -> ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificate.key_pair.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap()
}

/// Whether a request has its head, and as much of a body as that says.
fn is_whole(asked: &[u8]) -> bool {
    let text = String::from_utf8_lossy(asked).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.trim().parse().unwrap_or(0))
}
