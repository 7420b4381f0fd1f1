//! What is asked and told about drafts of performance notes. See [`super`] for
//! the rules of these types.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Audience;

/// How far a note has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoteState {
    /// The supplier has not been sent it.
    Draft,
    /// It was sent, and the supplier may still reply.
    Sent,
    /// The supplier has replied.
    Replied,
    /// The time for a reply is over, and there is none.
    Unanswered,
}

/// One note that is not shared yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoteView {
    /// By which it is named.
    pub number: u32,
    /// How far it has come.
    pub state: NoteState,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<String>,
    /// The day on which it was sent to the supplier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The last day on which the supplier may reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_until: Option<String>,
    /// Why it may not be shared today; absent if it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Everything it says, in record form.
    pub document: Value,
}

/// All notes that are not shared yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// In the order of their numbers.
    pub notes: Vec<NoteView>,
}

/// One of them, by its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameNote {
    /// Its number.
    pub number: u32,
}

/// A note to be kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftNote {
    /// What it says, in record form.
    pub document: Value,
    /// The draft whose place it takes; a new one if absent.
    #[serde(default)]
    pub number: Option<u32>,
}

/// A note that was sent to its supplier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendNote {
    /// Its number.
    pub number: u32,
    /// The day on which it was sent, `2026-03-31`; today if absent.
    #[serde(default)]
    pub on: Option<String>,
    /// How long the supplier may reply, `P30D`; as the draft says if absent.
    #[serde(default)]
    pub window: Option<String>,
}

/// What the supplier replied.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteReply {
    /// The number of the note.
    pub number: u32,
    /// The reply, word for word.
    pub text: String,
}

/// A note to be shared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShareNote {
    /// Its number.
    pub number: u32,
    /// Who may see it.
    pub audience: Audience,
    /// Why it does not wait for the supplier's reply, if so.
    #[serde(default)]
    pub without_reply: Option<String>,
}
