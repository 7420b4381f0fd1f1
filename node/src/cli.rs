//! The `tally` command line: what may be typed, and what becomes of it.
//!
//! One file per command. A command gives an [`Answer`](output::Answer) or a
//! [`Failure`]; this file prints it and turns it into an exit code: 0 done, 1
//! the answer is no, 2 wrong usage or bad input, 3 node not reachable or not
//! initialised, 4 internal fault. With `--json` results go to standard output
//! as JSON, and errors to standard error.
//!
//! **Invariant:** nothing is shared without an audience having been named.
//! Deliberately absent: any work; that is the service's, behind the API.

pub mod audience;
pub mod client;
pub mod compact;
pub mod demo;
pub mod erase;
pub mod evidence;
pub mod group;
pub mod hold;
pub mod import;
pub mod init;
pub mod key;
pub mod note;
pub mod output;
pub mod partner;
pub mod policy;
mod progress;
pub mod prove;
pub mod publish;
mod question;
pub mod run;
pub mod search;
pub mod show;
pub mod status;
pub mod verify;
pub mod whoami;
pub mod withdraw;
pub mod wording;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use self::client::Client;
use self::output::{report, write_out};
use crate::config::Place;
use crate::failure::Failure;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "tally",
    version,
    about = "Signed, shared records of public contracts, without a central owner",
    after_help = "Start with `tally demo`, or with `tally init --name NAME` and `tally run`.",
    max_term_width = 80,
    disable_help_subcommand = true
)]
pub struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// The node's directory.
    #[arg(long, global = true, value_name = "DIR", env = "TALLY_DATA", hide_env_values = true)]
    pub data: Option<PathBuf>,
    /// Give the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Answer yes to every question.
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
}

impl Global {
    /// Where the node's files are.
    ///
    /// # Errors
    /// See [`Place::find`].
    pub fn place(&self) -> Result<Place, Failure> {
        Place::find(self.data.as_deref())
    }

    /// The running node.
    ///
    /// # Errors
    /// See [`Client::connect`].
    pub fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.place()?)
    }
}

/// One variant per command.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    #[command(subcommand)]
    Key(key::Key),
    Run(run::Run),
    Whoami(whoami::Whoami),
    #[command(subcommand)]
    Partner(partner::Partner),
    #[command(subcommand)]
    Group(group::Group),
    Import(import::Import),
    Publish(publish::Publish),
    #[command(subcommand)]
    Note(note::Note),
    Withdraw(withdraw::Withdraw),
    Erase(erase::Erase),
    Hold(hold::Hold),
    Search(search::Search),
    Show(show::Show),
    Prove(prove::Prove),
    Verify(verify::Verify),
    Policy(policy::Policy),
    Status(status::Status),
    Evidence(evidence::Evidence),
    Compact(compact::Compact),
}

impl Command {
    fn obey(&self, global: &Global) -> Result<output::Answer, Failure> {
        match self {
            Self::Demo(command) => command.run(global),
            Self::Init(command) => command.run(global),
            Self::Key(command) => command.run(global),
            Self::Run(command) => command.run(global),
            Self::Whoami(command) => command.run(global),
            Self::Partner(command) => command.run(global),
            Self::Group(command) => command.run(global),
            Self::Import(command) => command.run(global),
            Self::Publish(command) => command.run(global),
            Self::Note(command) => command.run(global),
            Self::Withdraw(command) => command.run(global),
            Self::Erase(command) => command.run(global),
            Self::Hold(command) => command.run(global),
            Self::Search(command) => command.run(global),
            Self::Show(command) => command.run(global),
            Self::Prove(command) => command.run(global),
            Self::Verify(command) => command.run(global),
            Self::Policy(command) => command.run(global),
            Self::Status(command) => command.run(global),
            Self::Evidence(command) => command.run(global),
            Self::Compact(command) => command.run(global),
        }
    }
}

/// Parses the arguments (the program's name first), does what they say, and
/// gives the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if !error.use_stderr() =>
            {
                write_out(&error.render().to_string());
                return ExitCode::SUCCESS;
            }
            _ => return report(&misuse(&error), json),
        },
    };
    match line.command.obey(&line.global) {
        Ok(answer) => answer.print(line.global.json),
        Err(failure) => report(&failure, line.global.json),
    }
}

/// A mistake on the command line, as one sentence.
fn misuse(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("no command is given", "`tally --help` lists them");
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let sentence = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let remedy = match usage {
        Some(usage) => format!("usage: {usage}"),
        None => "`tally --help` and `tally COMMAND --help` say what may be given".to_owned(),
    };
    Failure::usage(sentence.trim_end_matches('.'), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<CommandLine, Failure> {
        let words = line.split_whitespace().map(OsString::from);
        CommandLine::try_parse_from(words).map_err(|error| misuse(&error))
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn help_names_every_command() {
        insta::assert_snapshot!(CommandLine::command().render_help());
    }

    #[test]
    fn mistakes_are_one_sentence_and_one_line() {
        let lines = [
            "tally",
            "tally fly",
            "tally init",
            "tally init --name",
            "tally publish contract",
            "tally import --format xml x",
            "tally import x --public --into g",
            "tally search --limit many",
            "tally show --histroy x",
            "tally partner",
            "tally run --listen 0.0.0.0:1",
        ];
        let mut text = String::new();
        for line in lines {
            let failure = parse(line).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert!(!failure.error.contains('\n') && !failure.remedy.contains('\n'));
            text.push_str(&format!("{line}\n  {}\n  {}\n", failure.error, failure.remedy));
        }
        insta::assert_snapshot!(text);
    }
}
