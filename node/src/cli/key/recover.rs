//! `tally key recover`: closes the log where it was sound, and begins it anew.

use std::path::Path;

use serde_json::{Value, json};
use tallystick_protocol::identity::{EventType, Head};

use super::brought::Brought;
use super::change::{New, Signers, ask_about_waiting, conclude, now};
use super::offline::{Disowned, Offline};
use super::{Establishing, Unlock};
use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::question::confirm;
use crate::cli::wording::{clean, count};
use crate::failure::Failure;
use crate::keys::{IDENTITY_FILE, Renewal};

/// Said of a head that this node's own log does not lead to.
const ANOTHER_BRANCH: &str = "This head is NOT of the history that this node holds: somebody else signed \
    with its key.\nEverything that this node holds of the log and that head does not is disowned.\n";
/// Most disowned entries that are shown before it is asked.
const SHOWN: usize = 20;

/// Where the log is closed, and from where that is known.
#[derive(Clone, Copy)]
pub(super) struct From<'a> {
    pub(super) at: Option<u64>,
    pub(super) head: Option<&'a Path>,
    pub(super) card: Option<&'a Path>,
}

/// Runs the command.
pub(super) fn recover(
    global: &Global,
    from: From<'_>,
    establishing: &Establishing,
    unlock: &Unlock,
) -> Result<Answer, Failure> {
    let brought = Brought::read(from.card, from.head)?;
    let place = global.place()?;
    let network = brought.network_for(&place)?;
    let known = brought.verify(&network)?;
    if !place.file(IDENTITY_FILE).exists() {
        known.settle(&place)?;
    }
    let mut node = Offline::open(global)?;
    node.learn(known.identity(&node.identity)?)?;
    // Whoever copied one key has copied all that lay beside it.
    let renewal = New { keys: Renewal::ALL, under: node.unlock(unlock)? };
    let signers = Signers::establishing(&node, establishing)?;
    ask_about_waiting(global, &node)?;
    let closes = match known.head(&node.identity)? {
        Some(head) => head,
        None => node.closing_head(from.at)?,
    };
    let disowned = node.beyond(&closes)?;
    let branch = if node.continues(&closes)? { "" } else { ANOTHER_BRANCH };
    confirm(global, &format!("{}{branch}", question(&closes, &disowned)))?;
    let mut event = node.identity.next_event(EventType::Recovery, now()?);
    signers.establish(&node, establishing, &mut event)?;
    event.generation = node.identity.generation().saturating_add(1);
    event.closes = Some(closes);
    event.group_pins = node.pin_groups()?;
    let more = json!({ "disowned": disowned.count, "entries": disowned.entries });
    conclude(&node, event, &renewal, &signers, &establishing.signing, more)
}

fn question(closes: &Head, disowned: &Disowned) -> String {
    let mut text = format!(
        "Generation {} of the log is closed at {} entries, root {}.\n\
         What comes later goes into a new generation. This cannot be undone.\n",
        closes.generation(),
        count(closes.size()),
        closes.root(),
    );
    if disowned.count == 0 {
        text.push_str(
            "Nothing that this node holds lies beyond. What others hold beyond it, and other\n\
             branches, are disowned: be sure that no partner has a newer head that is sound.\n",
        );
        return text;
    }
    text.push_str(&format!(
        "{} that lie beyond are DISOWNED: no longer said by this authority.\n",
        match disowned.count {
            1 => "1 entry".to_owned(),
            more => format!("{} entries", count(more)),
        }
    ));
    for entry in disowned.entries.iter().take(SHOWN) {
        let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let index = entry.get("index").and_then(Value::as_u64).unwrap_or_default();
        text.push_str(&format!(
            "  {index}  {} {}  {}\n",
            word("kind"),
            word("action"),
            clean(word("title"))
        ));
    }
    let rest = disowned.count.saturating_sub(SHOWN as u64);
    if rest > 0 {
        text.push_str(&format!("  and {} more\n", count(rest)));
    }
    text
}
