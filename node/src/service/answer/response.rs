//! What is told about responses. See [`super`] for the rules of these types.

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::AuthorityId;

use crate::acquaintance::Attribution;

/// A response to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseView {
    /// Reference of the response.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Who says it.
    pub authority: AuthorityId,
    /// That authority's name.
    pub authority_name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// When, in seconds since 1970, as its author says.
    pub issued: u64,
    /// A code of [`Answer`](tallystick_protocol::record::response::Answer).
    pub answer: String,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// Until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The supplier whose reply it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<String>,
}
