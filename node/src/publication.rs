//! What this node shows to everybody over HTTP, if its operator wants that: its
//! own public logs as C2SP tlog-tiles, and its witness as C2SP tlog-witness.
//!
//! ```text
//! GET  /ORIGIN/checkpoint                      the newest signed head
//! GET  /ORIGIN/tile/LEVEL/N[.p/WIDTH]          hashes of the tree
//! GET  /ORIGIN/tile/entries/N[.p/WIDTH]        headers, each behind its length in two bytes
//! GET  /ORIGIN/body/N                          the body of one entry, N written as for tiles
//! POST /add-checkpoint                         a cosignature for another authority's head
//! ```
//!
//! **Invariants:** whatever else is asked for, in whatever way, is a 404 with
//! nothing in it, so that groups and partners do not show; reading reaches the
//! durable replica only, and no further than a signed head; sizes, times,
//! connections and requests are bounded (see `gate`). Deliberately absent: TLS,
//! which a proxy in front adds, compression, since hashes have none, and any
//! page for people.

mod gate;
mod resource;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tallystick_protocol::id::{AuthorityId, LogId, NetworkName};
use tallystick_protocol::limits;
use tallystick_protocol::witness::{RequestError, UnverifiedRequest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::gate::{Gate, Guest};
use self::resource::Answer;
use crate::cosigner::{CosignError, Cosigner};
use crate::failure::Failure;
use crate::store::Replica;
use crate::witnesses::Witnesses;

/// Requests that are worked on at one time; more are told to come back.
const REQUESTS: usize = 32;
/// How long a request may take, with the reading of its body.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request, or be silent after one.
const HEAD_TIME: Duration = Duration::from_secs(20);
/// How long a connection may last, however slowly its client reads.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// What a request for a cosignature costs, in requests for anything else: it
/// may take a signature check, a proof, and a write to the disk.
const COSIGN_COST: u32 = 10;

/// Everything that is shown.
pub struct Publication {
    replica: Arc<dyn Replica>,
    network: NetworkName,
    own: AuthorityId,
    cosigner: Cosigner,
    witnesses: Arc<Witnesses>,
    working: Arc<Semaphore>,
}

/// Waits for readers on an address.
///
/// # Errors
/// A [`Failure`] if it is taken or not of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::usage(
            format!("the public logs cannot be shown on {address} ({error})"),
            "give another address with --publish-http or `publish_http` in tally.toml",
        )
    })
}

/// Shows `publication` until `stopped` says so.
pub fn serve(
    listener: TcpListener,
    publication: Publication,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (publication, gate) = (Arc::new(publication), Arc::new(Gate::default()));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = asked(&mut stopped) => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => if let Some(guest) = gate.enter(from.ip()) {
                        connections.spawn(connection(stream, guest, Arc::clone(&publication)));
                    },
                    // Out of descriptors, most likely: there are some again when others end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
            }
        }
        connections.shutdown().await;
    })
}

async fn asked(stopped: &mut watch::Receiver<bool>) {
    // The sender is gone when the service is: that means stop, too.
    let _stopped = stopped.wait_for(|stop| *stop).await;
}

async fn connection(stream: TcpStream, guest: Guest, publication: Arc<Publication>) {
    let guest = Arc::new(guest);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (guest, publication) = (Arc::clone(&guest), Arc::clone(&publication));
        async move {
            let answer = publication.answer(&guest, request.map(Body::new));
            let answer = tokio::time::timeout(REQUEST_TIME, answer).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| plain(StatusCode::REQUEST_TIMEOUT)))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // However it ended, it has; what the client did wrong it was told.
    let _ended = tokio::time::timeout(CONNECTION_TIME, served).await;
}

impl Publication {
    /// What to show: the logs of `own` in `replica`, their heads with what
    /// `witnesses` cosigned, and `cosigner` at work.
    #[must_use]
    pub fn new(
        replica: Arc<dyn Replica>,
        network: NetworkName,
        own: AuthorityId,
        cosigner: Cosigner,
        witnesses: Arc<Witnesses>,
    ) -> Self {
        Self {
            replica,
            network,
            own,
            cosigner,
            witnesses,
            working: Arc::new(Semaphore::new(REQUESTS)),
        }
    }

    async fn answer(&self, guest: &Guest, request: Request<Body>) -> Response<Body> {
        let method = request.method().clone();
        let cosign = method == Method::POST && request.uri().path() == "/add-checkpoint";
        if !guest.may_ask(if cosign { COSIGN_COST } else { 1 }) {
            return later(StatusCode::TOO_MANY_REQUESTS);
        }
        let Ok(permit) = Arc::clone(&self.working).try_acquire_owned() else {
            return later(StatusCode::SERVICE_UNAVAILABLE);
        };
        if cosign {
            return match announced(&request) > limits::ADD_CHECKPOINT_BYTES {
                true => plain(StatusCode::BAD_REQUEST),
                false => self.cosign(request.into_body()).await,
            };
        }
        let found =
            resource::find(request.uri().path()).filter(|_| request.uri().query().is_none());
        let found = found.filter(|_| method == Method::GET || method == Method::HEAD);
        let wanted = found.and_then(|(origin, resource)| {
            let (network, authority, generation) = origin.public_log()?;
            let ours = network == self.network && authority == self.own;
            ours.then(|| (LogId::public(authority, generation), resource))
        });
        let Some((log, resource)) = wanted else { return plain(StatusCode::NOT_FOUND) };
        let (replica, witnesses) = (Arc::clone(&self.replica), Arc::clone(&self.witnesses));
        let reading = tokio::task::spawn_blocking(move || {
            let read = resource::read(&*replica, &witnesses, &log, &resource);
            // Even if nobody waits any more, it counts until here.
            drop(permit);
            read
        });
        match reading.await {
            Ok(Ok(Some(answer))) => found_answer(answer),
            Ok(Ok(None)) => plain(StatusCode::NOT_FOUND),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read a public log");
                plain(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    async fn cosign(&self, body: Body) -> Response<Body> {
        let Ok(body) = to_bytes(body, limits::ADD_CHECKPOINT_BYTES).await else {
            return plain(StatusCode::BAD_REQUEST);
        };
        let request = UnverifiedRequest::parse(&body);
        let cosigned =
            match request.map_err(|error: RequestError| CosignError::Refused(error.into())) {
                Ok(request) => self.cosigner.cosign(request).await,
                Err(error) => Err(error),
            };
        match cosigned {
            Ok(line) => with_type(format!("{line}\n"), "text/plain; charset=utf-8"),
            Err(CosignError::Refused(refusal)) => {
                let status = StatusCode::from_u16(refusal.http_status());
                let mut answer = match refusal.recorded() {
                    Some(size) => with_type(format!("{size}\n"), "text/x.tlog.size"),
                    None => Response::default(),
                };
                *answer.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                answer
            }
            Err(CosignError::TooSoon) => later(StatusCode::TOO_MANY_REQUESTS),
            Err(CosignError::Unavailable) => later(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// Bytes that the request says its body has.
fn announced(request: &Request<Body>) -> usize {
    let length = request.headers().get(header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0)
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut answer = Response::default();
    *answer.status_mut() = status;
    answer
}

/// An answer that asks to come back in a second.
fn later(status: StatusCode) -> Response<Body> {
    let mut answer = plain(status);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn with_type(body: impl Into<Body>, content_type: &'static str) -> Response<Body> {
    let mut answer = Response::new(body.into());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn found_answer(found: Answer) -> Response<Body> {
    let mut answer = with_type(found.bytes, found.content_type);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(found.caching));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
