//! `tally note`: performance notes, from the draft to the day they are shared.
//!
//! **Invariant:** nothing but `share` lets anybody else see a note.

use std::fs::File;
use std::io::{self, Read as _};

use serde_json::json;
use tallystick_protocol::limits;
use tallystick_protocol::record::{Kind, Performance, Record};

use super::Global;
use super::audience::confirmed;
use super::audience::{AudienceOptions, Offer};
use super::output::Answer;
use super::publish::{read, told};
use super::question::confirm;
use super::show::flat;
use super::wording::{clean, day_text, pairs, several, table};
use crate::failure::Failure;
use crate::service::answer::{
    DraftNote, NameNote, NoteReply, NoteState, NoteView, Notes, Published, SendNote, ShareNote,
};

/// Write down how a supplier performed, hear it, and share it fairly
#[derive(Clone, Debug, clap::Subcommand)]
#[command(after_help = "A draft stays on this node. What says something against a supplier is \
shared when it was sent to it and it has replied, or its time to reply is over.")]
pub enum Note {
    /// Keep a note on this node; nobody else sees it
    Draft {
        /// A JSON file with the performance document, or - for standard input.
        #[arg(value_name = "FILE")]
        file: String,
        /// The draft whose place it takes; it has to be sent again then.
        #[arg(long, value_name = "NUMBER")]
        replaces: Option<u32>,
    },
    /// List the notes that are not shared yet
    List,
    /// Show a note that is not shared yet
    Show {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        number: u32,
    },
    /// Say that you have sent a note to the supplier, by letter or mail
    Send {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        number: u32,
        /// The day on which it was sent; today, if left out.
        #[arg(long, value_name = "DATE")]
        on: Option<String>,
        /// How long the supplier may reply, as P30D, P2W or P1M; 30 days, if the draft does not say.
        #[arg(long, value_name = "LENGTH")]
        window: Option<String>,
    },
    /// Keep what the supplier replied
    Reply {
        /// The number of the note.
        #[arg(value_name = "NUMBER")]
        number: u32,
        /// A text file with the reply, or - for standard input.
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Share a note; the draft becomes a record
    Share {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        number: u32,
        /// Who may see it.
        #[command(flatten)]
        audience: AudienceOptions,
        /// Do not wait for the supplier's reply; the note says why.
        #[arg(long, value_name = "REASON")]
        without_reply: Option<String>,
    },
    /// Remove a draft
    Discard {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        number: u32,
    },
}

impl Note {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]: no such draft, not valid, not to be shared yet, or not confirmed.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        match self {
            Self::Draft { file, replaces } => {
                let draft = DraftNote { document: read(file)?, number: *replaces };
                let kept: NoteView = global.client()?.post("notes", &draft)?;
                Ok(changed("kept as", &kept))
            }
            Self::List => {
                let notes: Notes = global.client()?.get("notes", &[])?;
                Ok(Answer::done(list(&notes.notes), json!(notes)))
            }
            Self::Show { number } => {
                let note = one(global, *number)?;
                Ok(Answer::done(page(&note), json!(note)))
            }
            Self::Send { number, on, window } => {
                let sent = SendNote { number: *number, on: on.clone(), window: window.clone() };
                let sent: NoteView = global.client()?.post("notes/send", &sent)?;
                Ok(changed("sent:", &sent))
            }
            Self::Reply { number, file } => {
                let reply = NoteReply { number: *number, text: read_text(file)? };
                let replied: NoteView = global.client()?.post("notes/reply", &reply)?;
                Ok(changed("kept the reply to", &replied))
            }
            Self::Share { number, audience, without_reply } => {
                let note = one(global, *number)?;
                let record = Record::from_json(Kind::PERFORMANCE, note.document);
                let record = record.unwrap_or_else(|_| Performance::default().into());
                let audience = audience.named(global, Offer::of(&record))?;
                let client = global.client()?;
                let audience = confirmed(&client, audience)?;
                let without_reply = without_reply.clone();
                let share = ShareNote { number: *number, audience, without_reply };
                let published: Published = client.post("notes/share", &share)?;
                Ok(told("shared", &published))
            }
            Self::Discard { number } => {
                let note = one(global, *number)?;
                confirm(global, &format!("{} will be removed.", called(&note)))?;
                let gone: NoteView =
                    global.client()?.post("notes/discard", &NameNote { number: *number })?;
                Ok(Answer::done(format!("removed {}\n", called(&gone)), json!(gone)))
            }
        }
    }
}

fn one(global: &Global, number: u32) -> Result<NoteView, Failure> {
    global.client()?.get("notes/one", &[("number", number.to_string())])
}

fn read_text(file: &str) -> Result<String, Failure> {
    let most = limits::BODY_BYTES as u64;
    let mut text = String::new();
    let read = match file {
        "-" => io::stdin().lock().take(most + 1).read_to_string(&mut text),
        path => File::open(path).and_then(|file| file.take(most + 1).read_to_string(&mut text)),
    };
    let remedy = "give a text file with what the supplier wrote";
    read.map_err(|error| Failure::usage(format!("{file} cannot be read ({error})"), remedy))?;
    match text.len() as u64 > most {
        true => Err(Failure::usage(format!("{file} is too large for one record"), remedy)),
        false => Ok(text),
    }
}

fn called(note: &NoteView) -> String {
    let about = note.title.as_deref().or(note.supplier.as_deref()).unwrap_or_default();
    format!("draft {} ({})", note.number, clean(about))
}

fn changed(what: &str, note: &NoteView) -> Answer {
    let mut text = format!("{what} {}\n", called(note));
    text.push_str(&format!("  {}\n", next(note)));
    Answer::done(text, json!(note))
}

/// How far it has come.
fn state(note: &NoteView) -> String {
    let day = |day: &Option<String>| day.as_deref().map(day_text).unwrap_or_default();
    let sent = day(&note.sent);
    match note.state {
        NoteState::Draft => "not sent".to_owned(),
        NoteState::Sent => {
            format!("sent {sent}; the supplier may reply until {}", day(&note.reply_until))
        }
        NoteState::Replied => format!("sent {sent}; the supplier has replied"),
        NoteState::Unanswered => {
            format!("sent {sent}; no reply until {}", day(&note.reply_until))
        }
    }
}

/// What is to be done next.
fn next(note: &NoteView) -> String {
    let number = note.number;
    match (&note.waits_for, note.state) {
        (None, _) => {
            format!("it may be shared: `tally note share {number}`, with --into GROUP or --public")
        }
        (Some(_), NoteState::Draft) => format!(
            "send it to the supplier yourself (`tally note show {number}` prints it), then say so: \
             `tally note send {number}`"
        ),
        (Some(why), _) => {
            format!("{}; keep its reply with `tally note reply {number} FILE`", clean(why))
        }
    }
}

fn list(notes: &[NoteView]) -> String {
    if notes.is_empty() {
        return "No note waits to be shared. `tally note draft FILE` keeps one.\n".to_owned();
    }
    let row = |note: &NoteView| {
        let [title, supplier, until] = [&note.title, &note.supplier, &note.reply_until]
            .map(|text| text.clone().unwrap_or_default());
        let state = match (note.state, note.waits_for.is_none()) {
            (NoteState::Draft, true) => "not sent, nor has to be",
            (NoteState::Draft, false) => "not sent",
            (NoteState::Sent, _) => "sent",
            (NoteState::Replied, _) => "replied",
            (NoteState::Unanswered, _) => "no reply",
        };
        vec![
            note.number.to_string(),
            clean(&title),
            clean(&supplier),
            state.to_owned(),
            day_text(&until),
        ]
    };
    let rows: Vec<_> = notes.iter().map(row).collect();
    let heading = several(rows.len() as u64, "note");
    let rows = table(&["No", "Note", "Supplier", "State", "Reply until"], &rows);
    format!("{heading}, on this node only\n{rows}")
}

fn page(note: &NoteView) -> String {
    let mut fields = Vec::new();
    flat("", &note.document, &mut fields);
    let fields = fields.iter().map(|(name, value)| (clean(name), clean(value)));
    let fields: Vec<_> = fields.collect();
    let facts =
        pairs([("draft", note.number.to_string()), ("state", state(note)), ("", next(note))]);
    let said = pairs(fields.iter().map(|(name, value)| (name.as_str(), value.clone())));
    format!("{facts}\n{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(state: NoteState, waits_for: Option<&str>) -> NoteView {
        NoteView {
            number: 3,
            state,
            title: Some("Grounds, the year to March".to_owned()),
            supplier: Some("Kestrel\u{1b}[2J Grounds Ltd".to_owned()),
            sent: (state != NoteState::Draft).then(|| "2026-04-20".to_owned()),
            reply_until: (state != NoteState::Draft).then(|| "2026-05-20".to_owned()),
            waits_for: waits_for.map(str::to_owned),
            document: json!({ "supplier": { "name": "Kestrel\u{1b}[2J Grounds Ltd" }, "opinion": "Late." }),
        }
    }

    #[test]
    fn every_state_says_what_is_to_be_done_next() {
        let unsent =
            page(&note(NoteState::Draft, Some("the supplier has not been sent this note")));
        assert!(unsent.contains("not sent") && unsent.contains("tally note send 3"), "{unsent}");
        let sent = list(&[note(NoteState::Sent, Some("the supplier may still reply"))]);
        assert!(sent.contains("20 May 2026") && sent.contains("sent"), "{sent}");
        let over = page(&note(NoteState::Unanswered, None));
        assert!(over.contains("no reply until 20 May 2026"), "{over}");
        assert!(over.contains("tally note share 3"), "{over}");
        assert!(!over.contains('\u{1b}'), "{over}");
    }
}
