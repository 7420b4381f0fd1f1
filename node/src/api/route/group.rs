//! The pages about private groups.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::{Answer, Asked, Sent, body, query};
use crate::service::{Desk, answer};

/// Every page about groups, relative to `/v1`.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/groups", get(groups).post(create))
        .route("/groups/members", get(members).post(change))
        .route("/groups/audiences", get(audiences).post(audience))
        .route("/groups/invite", post(invite))
        .route("/groups/invitation", post(look))
        .route("/groups/join", post(join))
        .route("/groups/leave", post(leave))
        .route("/groups/rotate", post(rotate))
        .route("/groups/continue", post(go_on))
}

async fn groups(State(desk): State<Desk>) -> Answer<answer::Groups> {
    Ok(Json(desk.groups().await?))
}

async fn create(State(desk): State<Desk>, sent: Sent) -> Answer<answer::GroupChange> {
    Ok(Json(desk.create_group(body(sent)?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichGroup {
    group: String,
}

async fn members(
    State(desk): State<Desk>,
    asked: Asked<WhichGroup>,
) -> Answer<answer::GroupMembers> {
    Ok(Json(desk.group_members(&query(asked)?.group).await?))
}

async fn change(State(desk): State<Desk>, sent: Sent) -> Answer<answer::GroupChange> {
    Ok(Json(desk.change_member(body(sent)?).await?))
}

async fn audiences(State(desk): State<Desk>) -> Answer<answer::Audiences> {
    Ok(Json(desk.audiences().await?))
}

async fn audience(State(desk): State<Desk>, sent: Sent) -> Answer<answer::AudienceView> {
    Ok(Json(desk.audience(&body(sent)?).await?.1))
}

async fn invite(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Invited> {
    Ok(Json(desk.invite(body(sent)?).await?))
}

async fn look(State(desk): State<Desk>, sent: Sent) -> Answer<answer::InvitationView> {
    Ok(Json(desk.look_at_invitation(&body(sent)?).await?))
}

async fn join(State(desk): State<Desk>, sent: Sent) -> Answer<answer::InvitationView> {
    Ok(Json(desk.join_group(&body(sent)?).await?))
}

async fn leave(State(desk): State<Desk>, sent: Sent) -> Answer<answer::GroupChange> {
    let answer::NameGroup { group } = body(sent)?;
    Ok(Json(desk.leave_group(&group).await?))
}

async fn rotate(State(desk): State<Desk>, sent: Sent) -> Answer<answer::GroupChange> {
    let answer::NameGroup { group } = body(sent)?;
    Ok(Json(desk.rotate_group(&group).await?))
}

async fn go_on(State(desk): State<Desk>, sent: Sent) -> Answer<answer::GroupChange> {
    Ok(Json(desk.continue_group(body(sent)?).await?))
}
