//! The only place that writes to standard output and asks questions.
//!
//! A command gives an [`Answer`] in both forms; `--json` chooses. So commands
//! can be tested without a terminal, and results never mix with logs and
//! progress, which go to standard error. A reader that has gone away (`| head`)
//! is no error.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use serde_json::Value;

use crate::failure::{Failure, FailureKind};

/// Longest answer to a question that is read, in bytes.
const ANSWER_BYTES: u64 = 64;

/// What a command has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For people; lines, with a line feed at the end unless empty.
    pub text: String,
    /// For programs.
    pub json: Value,
    /// Exit code: 0 for done, yes or found.
    pub exit: u8,
}

impl Answer {
    /// A command that did what it was asked to.
    #[must_use]
    pub const fn done(text: String, json: Value) -> Self {
        Self { text, json, exit: 0 }
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with_exit(self, kind: FailureKind) -> Self {
        Self { exit: kind.exit_code(), ..self }
    }

    /// Nothing to say, for a command that has said it already.
    #[must_use]
    pub const fn silent() -> Self {
        Self::done(String::new(), Value::Null)
    }

    /// Writes the answer and gives the exit code.
    #[must_use]
    pub fn print(&self, json: bool) -> ExitCode {
        match (json, &self.json) {
            (true, Value::Null) => {}
            (true, value) => write_out(&format!("{value}\n")),
            (false, _) => write_out(&self.text),
        }
        ExitCode::from(self.exit)
    }
}

/// Writes a text to standard output at once.
pub fn write_out(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever does not want to read the answer has it their way.
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub fn write_note(line: &str) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

/// Asks whether to go on, at the terminal; `yes` is the answer given beforehand.
///
/// # Errors
/// A [`Failure`] if the answer is no, or there is nobody to ask.
pub fn ask(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Failure::usage(
            "this has to be confirmed, and there is no terminal to ask at",
            "look at what it does without --yes at a terminal, or give --yes",
        ));
    }
    let _gone = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = input.lock().take(ANSWER_BYTES).read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::no("nothing was done", "answer y, or give --yes, to go on")),
    }
}

/// Writes a failure to standard error, one sentence and one line, and gives the exit code.
#[must_use]
pub fn report(failure: &Failure, json: bool) -> ExitCode {
    write_note(&render(failure, json));
    failure.exit_code()
}

fn render(failure: &Failure, json: bool) -> String {
    let Failure { error, remedy, .. } = failure;
    if json {
        serde_json::json!({ "error": error, "remedy": remedy }).to_string()
    } else {
        format!("error: {}\n       {}", super::wording::clean(error), super::wording::clean(remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_a_sentence_and_a_line_on_what_to_do() {
        let failure = Failure::usage("no such \u{1b}[31mkind", "there are contract and pipeline");
        insta::assert_snapshot!(render(&failure, false), @r"
        error: no such [31mkind
               there are contract and pipeline
        ");
        insta::assert_snapshot!(
            render(&Failure::no("not there", "look elsewhere"), true),
            @r#"{"error":"not there","remedy":"look elsewhere"}"#
        );
    }
}
