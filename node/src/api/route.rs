//! The pages of the API: each reads a request, asks the desk, writes the answer.

mod group;
mod note;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tallystick_protocol::card::Validity;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::record::Day;

use crate::failure::Failure;
use crate::search;
use crate::service::{Desk, answer, kind};

/// Every page, relative to `/v1`.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/status", get(status))
        .route("/whoami", get(whoami))
        .route("/partners", get(partners).post(add_partner))
        .route("/partners/accept", post(accept_partner))
        .route("/partners/remove", post(remove_partner))
        .route("/partners/endorse", post(endorse))
        .route("/partners/check", post(check_domain))
        .route("/search", get(search))
        .route("/held", get(held))
        .route("/records", get(show).post(publish))
        .route("/records/withdraw", post(withdraw))
        .route("/records/erase", get(erasures).post(erase))
        .route("/records/erase/message", post(countersign))
        .route("/records/hold", get(holds).post(hold))
        .route("/proof", get(prove))
        .route("/policy", get(policy))
        .route("/evidence", get(evidence))
        .route("/evidence/file", get(evidence_file))
        .route("/import", post(import))
        .merge(group::routes())
        .merge(note::routes())
}

type Answer<T> = Result<Json<T>, Failure>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Sent = Result<Bytes, BytesRejection>;

async fn status(State(desk): State<Desk>) -> Answer<answer::Status> {
    Ok(Json(desk.status().await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HowLong {
    #[serde(default)]
    valid_days: Option<u16>,
}

async fn whoami(State(desk): State<Desk>, asked: Asked<HowLong>) -> Answer<answer::Whoami> {
    let days = query(asked)?.valid_days.unwrap_or(Validity::USUAL_DAYS);
    Ok(Json(desk.whoami_for(days).await?))
}

async fn partners(State(desk): State<Desk>) -> Answer<answer::Partners> {
    Ok(Json(desk.partners().await?))
}

async fn add_partner(State(desk): State<Desk>, sent: Sent) -> Answer<answer::PartnerChange> {
    let answer::AddPartner { card } = body(sent)?;
    Ok(Json(desk.add_partner(&card).await?))
}

async fn accept_partner(State(desk): State<Desk>, sent: Sent) -> Answer<answer::PartnerChange> {
    let answer::NamePartner { authority } = body(sent)?;
    Ok(Json(desk.accept_partner(&authority).await?))
}

async fn remove_partner(State(desk): State<Desk>, sent: Sent) -> Answer<answer::PartnerChange> {
    let answer::NamePartner { authority } = body(sent)?;
    Ok(Json(desk.remove_partner(&authority).await?))
}

async fn endorse(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Endorsed> {
    Ok(Json(desk.endorse(body(sent)?).await?))
}

async fn check_domain(State(desk): State<Desk>, sent: Sent) -> Answer<answer::DomainChecked> {
    let answer::NamePartner { authority } = body(sent)?;
    Ok(Json(desk.check_domain(&authority).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichHeld {
    text: String,
    from: Option<String>,
}

async fn held(State(desk): State<Desk>, asked: Asked<WhichHeld>) -> Answer<answer::HeldPortion> {
    let WhichHeld { text, from } = query(asked)?;
    Ok(Json(desk.held_on(&text, from).await?))
}

/// A question as it stands in an address.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    #[serde(default)]
    text: String,
    kind: Option<String>,
    cpv: Option<String>,
    supplier: Option<String>,
    buyer: Option<String>,
    ends_before: Option<String>,
    ends_after: Option<String>,
    authority: Option<AuthorityId>,
    limit: Option<usize>,
    offset: Option<usize>,
    references: Option<bool>,
}

impl Question {
    fn query(self) -> Result<search::Query, Failure> {
        let day = |text: Option<String>| text.as_deref().map(day).transpose();
        let usual = search::Query::default();
        Ok(search::Query {
            text: self.text,
            kind: self.kind.as_deref().map(kind).transpose()?,
            cpv: self.cpv,
            supplier: self.supplier,
            buyer: self.buyer,
            ends_before: day(self.ends_before)?,
            ends_after: day(self.ends_after)?,
            authority: self.authority,
            limit: self.limit.unwrap_or(usual.limit),
            offset: self.offset.unwrap_or(usual.offset),
            include_references: self.references.unwrap_or(usual.include_references),
        })
    }
}

fn day(text: &str) -> Result<Day, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("{text:?}: {error}"), "write the day as 2026-03-31")
    })
}

async fn search(State(desk): State<Desk>, asked: Asked<Question>) -> Answer<search::Results> {
    Ok(Json(desk.search(query(asked)?.query()?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichRecord {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    history: bool,
}

async fn show(State(desk): State<Desk>, asked: Asked<WhichRecord>) -> Answer<answer::Shown> {
    let WhichRecord { reference, history } = query(asked)?;
    Ok(Json(desk.show(&reference, history).await?))
}

async fn publish(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Published> {
    Ok(Json(desk.publish(body(sent)?).await?))
}

async fn withdraw(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Published> {
    let answer::Withdraw { reference } = body(sent)?;
    Ok(Json(desk.withdraw(&reference).await?))
}

async fn erase(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Erased> {
    Ok(Json(desk.erase(body(sent)?).await?))
}

async fn countersign(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Countersign> {
    Ok(Json(desk.countersign_text(body(sent)?).await?))
}

async fn hold(State(desk): State<Desk>, sent: Sent) -> Answer<answer::HoldView> {
    Ok(Json(desk.hold(body(sent)?).await?))
}

async fn holds(State(desk): State<Desk>) -> Answer<answer::Holds> {
    Ok(Json(desk.held().await?))
}

#[derive(Deserialize)]
struct WhichErasures {
    #[serde(rename = "ref")]
    reference: Option<String>,
}

async fn erasures(
    State(desk): State<Desk>,
    asked: Asked<WhichErasures>,
) -> Answer<answer::Erasures> {
    Ok(Json(desk.erasures(query(asked)?.reference.as_deref()).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichProof {
    #[serde(rename = "ref")]
    reference: String,
    /// Names of the fields that are shown, with commas, which no name contains.
    fields: Option<String>,
}

async fn prove(
    State(desk): State<Desk>,
    asked: Asked<WhichProof>,
) -> Result<impl IntoResponse, Failure> {
    let WhichProof { reference, fields } = query(asked)?;
    let fields: Vec<_> = fields.iter().flat_map(|all| all.split(',')).map(str::to_owned).collect();
    let proof = desk.prove(&reference, &fields).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], proof))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichAuthority {
    authority: Option<String>,
}

async fn policy(
    State(desk): State<Desk>,
    asked: Asked<WhichAuthority>,
) -> Answer<answer::PolicyView> {
    let WhichAuthority { authority } = query(asked)?;
    Ok(Json(desk.policy(authority.as_deref()).await?))
}

async fn evidence(State(desk): State<Desk>) -> Answer<answer::EvidenceList> {
    Ok(Json(desk.evidence().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichEvidence {
    which: String,
}

async fn evidence_file(
    State(desk): State<Desk>,
    asked: Asked<WhichEvidence>,
) -> Result<String, Failure> {
    desk.evidence_file(&query(asked)?.which).await
}

async fn import(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Imported> {
    Ok(Json(desk.import(body(sent)?).await?))
}

fn body<T: DeserializeOwned>(sent: Sent) -> Result<T, Failure> {
    let bytes = sent.map_err(|_| {
        Failure::usage("the request is too large or was cut off", "send it in smaller parts")
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(
            format!("the request is not understood ({error})"),
            "use the tally command of the same version as the running node",
        )
    })
}

fn query<T>(asked: Asked<T>) -> Result<T, Failure> {
    let Query(found) = asked.map_err(|error| {
        Failure::usage(
            format!("the request is not understood ({})", error.body_text()),
            "use the tally command of the same version as the running node",
        )
    })?;
    Ok(found)
}
