//! `tally key recover`: closes the log where it was sound, and begins it anew.

use serde_json::{Value, json};
use tallystick_protocol::identity::{EventType, Head};

use super::Establishing;
use super::change::{Signers, ask_about_waiting, conclude, now};
use super::offline::{Disowned, Offline};
use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::question::confirm;
use crate::cli::wording::{clean, count};
use crate::failure::Failure;
use crate::keys::Renewal;

/// Most disowned entries that are shown before it is asked.
const SHOWN: usize = 20;

/// Runs the command.
pub(super) fn recover(
    global: &Global,
    at: Option<u64>,
    establishing: &Establishing,
) -> Result<Answer, Failure> {
    let node = Offline::open(global)?;
    // Whoever copied one key has copied all that lay beside it.
    let renewal = Renewal::ALL;
    let signers = Signers::establishing(&node, establishing)?;
    ask_about_waiting(global, &node)?;
    let closes = node.newest_head(at)?;
    let disowned = node.beyond(&closes)?;
    confirm(global, &question(&closes, &disowned))?;
    let mut event = node.identity.next_event(EventType::Recovery, now()?);
    signers.establish(&node, establishing, &mut event)?;
    event.generation = node.identity.generation().saturating_add(1);
    event.closes = Some(closes);
    let more = json!({ "disowned": disowned.count, "entries": disowned.entries });
    conclude(&node, event, renewal, &signers, &establishing.signing, more)
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
        text.push_str("Nothing that this node holds lies beyond; other branches are disowned.\n");
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
