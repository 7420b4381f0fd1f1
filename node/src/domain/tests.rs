//! Against a server on this machine with a certificate of the test's own authority.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use rcgen::CertifiedKey;

use crate::https_server::{self, Root};

const DOMAIN: &str = "ash.example";
const ASH: AuthorityId = AuthorityId::from_bytes([1; 32]);
const OAK: AuthorityId = AuthorityId::from_bytes([2; 32]);
const PATIENT: Duration = Duration::from_secs(10);

impl Root {
    /// A reader that trusts this root, and to which every name is `address`.
    fn prover(&self, address: SocketAddr, patience: Duration) -> Prover {
        let gate = Gate::Only(address);
        Prover::with(None, gate, self.trusted(), Some(address.port()), patience)
    }
}

/// Serves `answer` to one visitor; says what the visitor asked for.
fn serve(certificate: &CertifiedKey, answer: Vec<u8>) -> (SocketAddr, thread::JoinHandle<String>) {
    let (address, visits) = https_server::serve(certificate, 1, move |_| answer.clone());
    (address, thread::spawn(|| visits.join().unwrap().concat()))
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What a domain proves that gives this answer, under a good certificate.
fn check(answer: Vec<u8>) -> Result<(), DomainError> {
    let root = Root::new();
    let (address, visit) = serve(&root.issue(DOMAIN), answer);
    let said = root.prover(address, PATIENT).check(DOMAIN, &ASH);
    visit.join().unwrap();
    said
}

#[test]
fn a_domain_that_names_the_authority_proves_it() {
    let root = Root::new();
    let text = format!("\u{feff}# Two councils share this site.\r\n\r\n {OAK}\n{}", file(&ASH));
    let (address, visit) = serve(&root.issue(DOMAIN), ok(&text));
    assert_eq!(root.prover(address, PATIENT).check(DOMAIN, &ASH), Ok(()));
    let asked = visit.join().unwrap();
    assert!(asked.starts_with("GET /.well-known/tallystick HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains(&format!("host: {DOMAIN}")), "{asked}");
}

#[test]
fn each_way_to_prove_nothing_has_its_own_sentence() {
    let domain = || DOMAIN.to_owned();
    let long = format!("# {}\n", "x".repeat(usize::try_from(FILE_BYTES).unwrap()));
    let endless = b"HTTP/1.1 200 OK\r\n\r\n".iter().copied();
    let endless = endless.chain(long.bytes().cycle().take(1 << 20)).collect();
    let moved = "HTTP/1.1 301 Moved\r\nLocation: https://oak.example/\r\nContent-Length: 0\r\n\r\n";
    let downgrade =
        "HTTP/1.1 302 Found\r\nLocation: http://ash.example/x\r\nContent-Length: 0\r\n\r\n";
    let status =
        |status: u16| format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let binary = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n#\n\xff\n".to_vec();
    let line = |line| DomainError::Line { domain: domain(), line };
    let cases = [
        (ok(&file(&OAK)), DomainError::Other(domain())),
        (ok("# nobody yet\n"), DomainError::Other(domain())),
        (ok(&format!("{ASH}\n<html>\n")), line(2)),
        (binary, line(2)),
        (ok(&long), DomainError::TooLarge(domain())),
        (endless, DomainError::TooLarge(domain())),
        (moved.into(), DomainError::Redirect(domain())),
        (downgrade.into(), DomainError::Redirect(domain())),
        (status(404), DomainError::Status { domain: domain(), status: 404 }),
        (status(503), DomainError::Status { domain: domain(), status: 503 }),
        (b"SSH-2.0\r\n".to_vec(), DomainError::Unreachable(domain())),
    ];
    for (answer, expected) in cases {
        let said = check(answer).unwrap_err();
        assert_eq!(said, expected);
        assert!(said.to_string().contains(DOMAIN) && !said.remedy().is_empty());
    }
}

#[test]
fn a_certificate_of_somebody_else_or_for_another_name_proves_nothing() {
    let (root, stranger) = (Root::new(), Root::new());
    for certificate in [stranger.issue(DOMAIN), root.issue("oak.example")] {
        let (address, visit) = serve(&certificate, ok(&file(&ASH)));
        let said = root.prover(address, PATIENT).check(DOMAIN, &ASH);
        assert_eq!(said, Err(DomainError::Certificate(DOMAIN.to_owned())));
        assert_eq!(visit.join().unwrap(), "", "nothing is asked before that is clear");
    }
}

#[test]
fn a_site_that_does_not_answer_in_time_is_left() {
    let root = Root::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Duration::from_millis(300);
    let started = std::time::Instant::now();
    let said = root.prover(listener.local_addr().unwrap(), patience).check(DOMAIN, &ASH);
    assert_eq!(said, Err(DomainError::TooSlow(DOMAIN.to_owned())));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(listener);
}

#[test]
fn nothing_but_public_domains_is_asked() {
    let prover = Prover::new(None).unwrap();
    let said = |domain: &str| prover.check(domain, &ASH).unwrap_err();
    for odd in ["", "ash", "127.0.0.1", "ash.example/x", "ash.example:1", "a@ash.example", "[::1]"]
    {
        assert_eq!(said(odd), DomainError::NoDomain(odd.to_owned()));
    }
}

#[test]
fn with_a_proxy_names_are_for_the_proxy_and_nothing_goes_past_it() {
    let root = Root::new();
    let (server, visit) = serve(&root.issue(DOMAIN), ok(&file(&ASH)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tunnel = thread::spawn(move || {
        let (mut inside, _) = listener.accept().unwrap();
        let (mut asked, mut byte) = (Vec::new(), [0]);
        while !asked.ends_with(b"\r\n\r\n") && inside.read(&mut byte).unwrap() == 1 {
            asked.push(byte[0]);
        }
        let mut outside = std::net::TcpStream::connect(server).unwrap();
        inside.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut from, mut to) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
        let up = thread::spawn(move || io::copy(&mut from, &mut to));
        let _end = io::copy(&mut outside, &mut inside);
        let _end = inside.shutdown(std::net::Shutdown::Both);
        let _end = up.join().unwrap();
        String::from_utf8(asked).unwrap()
    });
    let proxy: Proxy = format!("http://ash:p%40ss@127.0.0.1:{port}").parse().unwrap();
    let proxy = Some(proxy.for_http().unwrap());
    let prover = Prover::with(proxy, Gate::Open, root.trusted(), None, PATIENT);
    assert_eq!(prover.check(DOMAIN, &ASH), Ok(()));
    visit.join().unwrap();
    let asked = tunnel.join().unwrap();
    assert!(asked.starts_with("CONNECT ash.example:443 HTTP/1.1\r\n"), "{asked}");
    // `ash:p@ss`, as RFC 7617 has it.
    assert!(asked.contains("YXNoOnBAc3M="), "{asked}");
}
