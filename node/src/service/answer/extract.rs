//! What is told about extracts. See [`super`] for the rules of these types.

use serde::{Deserialize, Serialize};

/// The other end of an extract: the extract, or what it is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractView {
    /// Reference of the record at the other end.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its title, if it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who may see it: `public`, or the id of a group.
    pub space: String,
    /// The name of that group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}
