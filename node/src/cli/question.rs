//! Questions to the person at the terminal: yes or no, and passphrases.
//!
//! Questions go to standard error, so that results stay alone on standard
//! output. Where nobody is there to answer, a question is a [`Failure`] that
//! says how to answer beforehand; nothing is assumed. **Invariant:** a
//! passphrase is not shown while it is typed, and wiped after use.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::Global;
use super::output::write_note;
use crate::failure::Failure;
use crate::keys::{ControllerFile, Passphrase, is_protected};

fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks whether to go on; `--yes` answers.
///
/// # Errors
/// A [`Failure`] if the answer is no, or nobody is there to give one.
pub(super) fn confirm(global: &Global, question: &str) -> Result<(), Failure> {
    if global.yes {
        return Ok(());
    }
    write_note(question);
    if !somebody_is_there() {
        return Err(Failure::usage(
            "this cannot be undone, and nobody is here to say yes",
            "read what it says above, then repeat the command with --yes",
        ));
    }
    match is_yes("Go on? [y/N]") {
        true => Ok(()),
        false => Err(Failure::no("nothing was changed", "repeat the command to be asked again")),
    }
}

/// Asks for a yes that nothing on the command line can give beforehand; `None`
/// where nobody is there.
pub(super) fn says_yes(question: &str) -> Option<bool> {
    somebody_is_there().then(|| is_yes(question))
}

fn is_yes(question: &str) -> bool {
    write_note(question);
    let mut line = String::new();
    // Whoever cannot be read has not said yes.
    let read = io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes" | "Yes")
}

/// The passphrase for new key files: from a file, or typed twice; none where
/// nobody is there, or where somebody wants none.
///
/// # Errors
/// A [`Failure`] if the file or the terminal cannot be read.
pub(super) fn new_passphrase(file: Option<&Path>) -> Result<Option<Passphrase>, Failure> {
    if let Some(file) = file {
        return Passphrase::read(file).map(Some);
    }
    if !somebody_is_there() {
        return Ok(None);
    }
    write_note(
        "A passphrase protects the controller keys should somebody find them. Without it they\n\
         are of no use to anybody, you included: write it down, and keep it elsewhere.",
    );
    loop {
        if let Some(passphrase) = typed_twice("Passphrase (nothing for none): ")? {
            return Ok(Some(passphrase));
        }
        write_note("Without a passphrase, whoever finds the files can use the keys at once.");
        if is_yes("Leave them without one? [y/N]") {
            return Ok(None);
        }
    }
}

/// What is typed twice the same; `None` if that is nothing.
fn typed_twice(prompt: &str) -> Result<Option<Passphrase>, Failure> {
    loop {
        let first = typed(prompt)?;
        if first.is_empty() || *first == *typed("The same once more: ")? {
            return Ok(Passphrase::new(first));
        }
        write_note("The two are not the same.");
    }
}

/// Where the passphrase of the working keys may come from: a file, and the option
/// that names it; else the credential that systemd gives to a service, which it
/// puts into `$CREDENTIALS_DIRECTORY`; else whoever is there.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The file, if one is named.
    pub(super) file: Option<&'a Path>,
    /// The option that names one.
    pub(super) option: &'static str,
}

/// Name of the systemd credential with the passphrase of the working keys.
const CREDENTIAL: &str = "tallystick-passphrase";

impl Source<'_> {
    /// The passphrase that opens the working keys in a data directory; `None` if
    /// none of them needs one.
    ///
    /// # Errors
    /// A [`Failure`] if there is none to be had.
    pub(super) fn open(self, data: &Path) -> Result<Option<Passphrase>, Failure> {
        let given = self.given()?;
        if !is_protected(data) {
            if given.is_some() {
                tracing::warn!(
                    "a passphrase is given, and no key lies under one: `tally key protect` does that"
                );
            }
            return Ok(None);
        }
        match given {
            None if somebody_is_there() => {
                let typed = typed("Passphrase of this node's keys: ")?;
                Passphrase::new(typed).map(Some).ok_or_else(|| self.nothing(data))
            }
            None => Err(self.nothing(data)),
            given => Ok(given),
        }
    }

    /// A passphrase for working keys that lie under none yet.
    ///
    /// # Errors
    /// A [`Failure`] if there is none to be had.
    pub(super) fn choose(self, data: &Path) -> Result<Passphrase, Failure> {
        if let Some(given) = self.given()? {
            return Ok(given);
        }
        if !somebody_is_there() {
            return Err(self.nothing(data));
        }
        write_note(
            "The node cannot start without this passphrase, and nobody can find it out: write it\n\
             down, and keep it elsewhere.",
        );
        typed_twice("Passphrase for this node's keys: ")?.ok_or_else(|| self.nothing(data))
    }

    fn given(self) -> Result<Option<Passphrase>, Failure> {
        match (self.file, std::env::var_os("CREDENTIALS_DIRECTORY")) {
            (Some(file), _) => Passphrase::read(file).map(Some),
            (None, Some(dir)) => Passphrase::credential(Path::new(&dir), CREDENTIAL),
            (None, None) => Ok(None),
        }
    }

    fn nothing(self, data: &Path) -> Failure {
        Failure::usage(
            format!("no passphrase is given for the keys of the node in {}", data.display()),
            format!(
                "give it with {} FILE, as the systemd credential {CREDENTIAL}, or on a terminal",
                self.option
            ),
        )
    }
}

/// The passphrase that opens a key file, if it needs one and there is one.
///
/// # Errors
/// A [`Failure`] if the terminal cannot be read.
pub(super) fn passphrase_of(
    file: &ControllerFile,
    given: Option<&Passphrase>,
) -> Result<Option<Passphrase>, Failure> {
    match given {
        Some(given) => Ok(Some(given.clone())),
        None if file.is_sealed() && somebody_is_there() => {
            Ok(Passphrase::new(typed(&format!("Passphrase of {}: ", file.path().display()))?))
        }
        None => Ok(None),
    }
}

fn typed(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
        Failure::usage(
            format!("no passphrase can be read from the terminal ({error})"),
            "give it with --passphrase-file FILE",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_is_there_nothing_is_assumed() {
        if somebody_is_there() {
            return;
        }
        let failure = confirm(&Global::default(), "Burn it?").unwrap_err();
        assert!(failure.remedy.contains("--yes"), "{failure:?}");
        let yes = Global { yes: true, ..Global::default() };
        assert_eq!(confirm(&yes, "Burn it?"), Ok(()));
        assert!(new_passphrase(None).unwrap().is_none());
        assert!(new_passphrase(Some(Path::new("/nonexistent"))).is_err());
    }
}
