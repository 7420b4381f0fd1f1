//! How commands reach the running node: its API on the loopback interface.
//!
//! The node leaves its address and a token in the data directory; whoever can
//! read them may command the node. **Invariant:** the token goes to loopback
//! addresses only. A node that is not there is exit code 3, with how to start
//! it; what the node refuses comes back as the [`Failure`] it made of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::api::{ADDRESS_FILE, TOKEN_FILE};
use crate::config::{Place, forbidden};
use crate::failure::Failure;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 256 << 20;
/// A batch of an import may wait for the disk for long.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A connection to the node of one data directory.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Zeroizing<String>,
    data: String,
}

impl Client {
    /// Finds the running node.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 3 if none has left its address.
    pub fn connect(place: &Place) -> Result<Self, Failure> {
        let data = place.data().display().to_string();
        if matches!(place.file(crate::keys::IDENTITY_FILE).try_exists(), Ok(false)) {
            return Err(Failure::unavailable(
                format!("there is no authority in {data}"),
                "make one with `tally init --name NAME`, or name its directory with --data DIR",
            ));
        }
        let read = |name: &str| read(&place.file(name), &data);
        let address: SocketAddr = read(ADDRESS_FILE)?.parse().map_err(|_| not_running(&data))?;
        if !address.ip().is_loopback() {
            return Err(not_running(&data));
        }
        let token = Zeroizing::new(read(TOKEN_FILE)?);
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Ok(Self { agent: config.into(), base: format!("http://{address}/v1"), token, data })
    }

    /// Asks for `path` with query parameters.
    ///
    /// # Errors
    /// The node's [`Failure`], or that it cannot be reached.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        parse(&self.get_bytes(path, query)?)
    }

    /// As [`Client::get`], for an answer that is not JSON.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn get_bytes(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        let mut request = self.agent.get(format!("{}/{path}", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let request = request.header("authorization", self.authorization().as_str());
        self.answer(request.call())
    }

    /// Sends `body` to `path`.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.agent.post(format!("{}/{path}", self.base));
        let request = request.header("authorization", self.authorization().as_str());
        parse(&self.answer(request.send_json(body))?)
    }

    /// As [`Client::post`], of a body that is written already.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, Failure> {
        let request = self.agent.post(format!("{}/{path}", self.base));
        let request = request.header("authorization", self.authorization().as_str());
        let request = request.header("content-type", "application/json");
        parse(&self.answer(request.send(body))?)
    }

    fn authorization(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.token.as_str()))
    }

    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Failure> {
        let mut response = result.map_err(|error| match error {
            ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => not_running(&self.data),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                not_running(&self.data)
            }
            _ => broken(),
        })?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|_| broken())?;
        if response.status().is_success() {
            return Ok(body);
        }
        // A token of another run, or another program on the port that a stopped node had.
        if response.status().as_u16() == 401 {
            return Err(not_running(&self.data));
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| {
            Failure::internal(format!("the node answered with status {}", response.status()))
        }))
    }
}

fn read(path: &Path, data: &str) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(forbidden(path, &error))
        }
        Err(_) => Err(not_running(data)),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|_| {
        Failure::unavailable(
            "the running node gives answers that this command does not understand",
            "stop it and start it again with the same version of tally",
        )
    })
}

fn not_running(data: &str) -> Failure {
    Failure::unavailable(
        format!("no node is running on {data}"),
        format!("start it with `tally run --data {data}`"),
    )
}

fn broken() -> Failure {
    Failure::unavailable(
        "the connection to the node was lost",
        "look whether it still runs with `tally status`, start it with `tally run`, and repeat the command",
    )
}
