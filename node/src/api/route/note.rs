//! The pages about notes that are not shared yet.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::{Answer, Asked, Sent, body, query};
use crate::service::{Desk, answer};

/// Every page about notes, relative to `/v1`.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/notes", get(notes).post(draft))
        .route("/notes/one", get(note))
        .route("/notes/send", post(send))
        .route("/notes/reply", post(reply))
        .route("/notes/share", post(share))
        .route("/notes/discard", post(discard))
}

async fn notes(State(desk): State<Desk>) -> Answer<answer::Notes> {
    Ok(Json(desk.notes().await?))
}

async fn note(
    State(desk): State<Desk>,
    asked: Asked<answer::NameNote>,
) -> Answer<answer::NoteView> {
    Ok(Json(desk.note(query(asked)?.number).await?))
}

async fn draft(State(desk): State<Desk>, sent: Sent) -> Answer<answer::NoteView> {
    Ok(Json(desk.draft_note(body(sent)?).await?))
}

async fn send(State(desk): State<Desk>, sent: Sent) -> Answer<answer::NoteView> {
    Ok(Json(desk.send_note(body(sent)?).await?))
}

async fn reply(State(desk): State<Desk>, sent: Sent) -> Answer<answer::NoteView> {
    Ok(Json(desk.reply_to_note(body(sent)?).await?))
}

async fn share(State(desk): State<Desk>, sent: Sent) -> Answer<answer::Published> {
    Ok(Json(desk.share_note(body(sent)?).await?))
}

async fn discard(State(desk): State<Desk>, sent: Sent) -> Answer<answer::NoteView> {
    let answer::NameNote { number } = body(sent)?;
    Ok(Json(desk.discard_note(number).await?))
}
