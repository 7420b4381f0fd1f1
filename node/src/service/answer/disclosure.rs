//! What is told about documents that somebody may ask for. See [`super`] for the rules
//! of these types.

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::AuthorityId;

use crate::acquaintance::Attribution;

/// A portion of what this authority holds on a term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPortion {
    /// What was found in it.
    pub held: Vec<HeldView>,
    /// How many documents were looked through.
    pub scanned: usize,
    /// Where the next portion begins; this was the last one if absent.
    #[serde(default)]
    pub next: Option<String>,
}

/// In what way something is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeldState {
    /// A record as it stands.
    #[default]
    Current,
    /// Only earlier versions of the record say it.
    Superseded,
    /// Its author no longer stands by it.
    Withdrawn,
    /// Erased by its author and hidden, and not deleted here yet.
    Erased,
    /// A foreign public notice that was imported.
    Reference,
    /// A note that is not shared yet.
    Draft,
}

/// One document that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// Full reference of the newest version with the term, a reference's address, or the draft.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Name of the kind.
    pub kind: String,
    /// Its title, if it has one.
    pub title: String,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// Whether this authority said it.
    pub is_own: bool,
    /// The buyer's name as the document gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
    /// `public`, the id of the group in which it was said, or `this node only`.
    pub space: String,
    /// The name of that group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// In what way it is held.
    pub state: HeldState,
    /// How many versions that are kept have the term.
    pub versions: usize,
    /// When it is deleted here if nobody holds it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
    /// Why it is under a legal hold here, if it is: see [`Reason`](crate::hold::Reason).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Whom its author wants to be consulted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consult: Option<String>,
    /// The exemptions that its author thinks apply.
    #[serde(default)]
    pub exemptions: Vec<ExemptionView>,
}

/// An exemption from disclosure, as the author sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExemptionView {
    /// The law and its section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision: Option<String>,
    /// Why it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Until when, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
