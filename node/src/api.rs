//! The loopback API: how commands on this machine reach the running node.
//!
//! JSON over HTTP under `/v1`, on a loopback address only. At every start the
//! node makes a new token and leaves it, with its address, in the data
//! directory, readable for its own user only; whoever can read them may command
//! the node.
//!
//! **Invariants:** never on another address than loopback; every request needs
//! the token, compared in constant time, and a loopback `Host`, so that no page
//! in a browser can reach it through a name of its own (DNS rebinding); bodies
//! are bounded before they are read; errors are [`Failure`]s. Deliberately
//! absent: TLS, accounts and anything for other machines.

mod route;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::Place;
use crate::failure::Failure;
use crate::partner::replace;
use crate::service::Desk;

/// File with the address of the running node's API.
pub const ADDRESS_FILE: &str = "api.addr";
/// File with the token of this run.
pub const TOKEN_FILE: &str = "api.token";
/// Largest request, in bytes: a batch of rows.
const REQUEST_BYTES: usize = 64 << 20;

/// Waits for commands on a loopback address.
///
/// # Errors
/// A [`Failure`] if it is not loopback, or taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::usage(
            format!("the command interface cannot listen on {address}"),
            "give a loopback address such as 127.0.0.1:0; it is for commands on this machine only",
        ));
    }
    TcpListener::bind(address).await.map_err(|error| {
        Failure::usage(
            format!("the command interface cannot listen on {address} ({error})"),
            "give another port with --http or `http` in tally.toml; 127.0.0.1:0 takes a free one",
        )
    })
}

/// Answers commands until `stopped` says so, and leaves address and token at `place`.
///
/// # Errors
/// A [`Failure`] if the files cannot be written.
pub fn serve(
    listener: TcpListener,
    place: &Place,
    desk: Desk,
    mut stopped: watch::Receiver<bool>,
) -> Result<(SocketAddr, JoinHandle<()>), Failure> {
    let address = listener.local_addr().map_err(Failure::internal)?;
    let token = new_token()?;
    let write = |name: &str, content: &str| {
        let path = place.file(name);
        replace(&path, content.as_bytes()).map_err(|error| {
            Failure::unwritten(&path, &error, "check the rights of the data directory")
        })
    };
    write(TOKEN_FILE, &token)?;
    write(ADDRESS_FILE, &format!("{address}\n")).inspect_err(|_| forget(place))?;
    let guard = Arc::new(Guard { token: digest(token.as_bytes()), port: address.port() });
    let router = router(desk, guard);
    let task = tokio::spawn(async move {
        let asked = async move {
            // The sender is gone when the service is: that means stop, too.
            let _stopped = stopped.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(asked).await {
            tracing::error!(%error, "command interface stopped");
        }
    });
    Ok((address, task))
}

/// Removes what [`serve`] left, when the node has stopped.
pub fn forget(place: &Place) {
    for name in [ADDRESS_FILE, TOKEN_FILE] {
        // A file that stays leads to a closed port; the next start writes it anew.
        let _gone = std::fs::remove_file(place.file(name));
    }
}

fn router(desk: Desk, guard: Arc<Guard>) -> Router {
    Router::new()
        .nest("/v1", route::routes())
        .fallback(|| async { missing() })
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(middleware::from_fn_with_state(guard, admit))
        .with_state(desk)
}

fn new_token() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(Failure::internal)?;
    let hex = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    Ok(Zeroizing::new(hex.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()))
}

/// What a request must show.
struct Guard {
    /// SHA-256 of the token: comparing digests tells nothing about the token by its timing.
    token: [u8; 32],
    port: u16,
}

impl Guard {
    fn admits(&self, headers: &HeaderMap) -> bool {
        self.is_local(headers) && self.has_token(headers)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        given.is_some_and(|token| digest(token.as_bytes()) == self.token)
    }

    /// Whether the request was made to a loopback address by that address, and
    /// by no page of a browser.
    fn is_local(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let ours = |host: &str| {
            let name = host.strip_suffix(&format!(":{}", self.port)).unwrap_or(host);
            matches!(name, "127.0.0.1" | "localhost" | "[::1]")
        };
        host.is_some_and(ours) && !headers.contains_key(header::ORIGIN)
    }
}

async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if guard.admits(request.headers()) {
        return next.run(request).await;
    }
    let failure = Failure::usage(
        "this interface is for the tally command on this machine",
        "use the command as the user that runs the node",
    );
    (StatusCode::UNAUTHORIZED, axum::Json(failure)).into_response()
}

fn missing() -> Failure {
    Failure::no("there is no such page", "the commands of tally use the pages under /v1")
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.http_status());
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), axum::Json(self)).into_response()
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_token_over_loopback_is_admitted() {
        let guard = Guard { token: digest(b"secret"), port: 4818 };
        let with = |host: &str, token: &str| {
            guard.admits(&headers(&[(header::HOST, host), (header::AUTHORIZATION, token)]))
        };
        for host in ["127.0.0.1:4818", "localhost:4818", "[::1]:4818", "127.0.0.1"] {
            assert!(with(host, "Bearer secret"), "{host}");
        }
        for host in ["evil.example:4818", "127.0.0.1:1", "127.0.0.1.evil.example", "192.0.2.7:4818"]
        {
            assert!(!with(host, "Bearer secret"), "{host}");
        }
        for token in ["Bearer secre", "Bearer secret1", "secret", "Basic secret", "Bearer ", ""] {
            assert!(!with("127.0.0.1:4818", token), "{token}");
        }
        assert!(!guard.admits(&headers(&[(header::AUTHORIZATION, "Bearer secret")])));
        assert!(!guard.admits(&headers(&[
            (header::HOST, "127.0.0.1:4818"),
            (header::AUTHORIZATION, "Bearer secret"),
            (header::ORIGIN, "http://127.0.0.1:4818"),
        ])));
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn other_addresses_than_loopback_are_refused() {
        for address in ["0.0.0.0:0", "192.0.2.7:0", "[::]:0"] {
            let failure = bind(address.parse().unwrap()).await.unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
        }
        assert!(bind("127.0.0.1:0".parse().unwrap()).await.is_ok());
    }
}
