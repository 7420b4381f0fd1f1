//! `tally key`: whose keys speak for this authority, and how they change.
//!
//! Every change is an event of the identity that controllers sign. Where one
//! person has the keys, a command does all of it; where several people do, it
//! makes a file that they pass around: `tally key sign` adds a signature on any
//! machine, `tally key apply` installs it.
//!
//! ```text
//! rotate, recover, profile, succeed ──► signed by enough? ──yes──► installed
//!                                             │ no
//!                                             ▼
//!                                   FILE ──► sign, sign, … ──► apply
//! ```
//!
//! **Invariant:** all of it happens while the node is stopped, under the lock
//! of its data directory. Deliberately absent: the network. Partners hear of a
//! change when the node runs again.

mod brought;
mod change;
mod describe;
mod offline;
mod protect;
mod recover;
mod show;
mod sign;

use std::path::{Path, PathBuf};

use serde_json::json;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::key::PublicKey;

use super::Global;
use super::output::Answer;
use super::question::{Source, new_passphrase};
use crate::failure::Failure;
use crate::keys::{ControllerFile, Cost};

/// Show, replace and recover this authority's keys (stop the node first)
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Key {
    /// Say who may sign what, which keys are where, and what has happened
    Show {
        /// Directories in which to look for controller keys, for instance memory sticks.
        #[arg(value_name = "DIR")]
        look: Vec<PathBuf>,
    },
    /// Make one controller key, and say its public key (needs no data directory)
    New {
        /// The file to write, for instance on a memory stick.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A file whose first line is the passphrase for it.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Replace working keys as planned: those of log and witness, unless others are named
    Rotate {
        /// Which keys.
        #[command(flatten)]
        renewal: Renew,
        /// Who signs.
        #[command(flatten)]
        controllers: Establishing,
        /// What opens the working keys.
        #[command(flatten)]
        unlock: Unlock,
    },
    /// After theft or loss: close the log where it was sound, and begin it anew under new keys
    Recover {
        /// Close it at the newest signed head of at most so many entries; without it, at the newest.
        #[arg(long, value_name = "SIZE")]
        at: Option<u64>,
        /// Close it at the head in this file, which this node does not have or has lost: a
        /// proof of any of its records, made by a partner, or a signed head.
        #[arg(long, value_name = "FILE", conflicts_with = "at")]
        head: Option<PathBuf>,
        /// The newest card of this authority, if its data directory was lost, too.
        #[arg(long, value_name = "FILE")]
        card: Option<PathBuf>,
        /// Who signs.
        #[command(flatten)]
        controllers: Establishing,
        /// What opens the working keys.
        #[command(flatten)]
        unlock: Unlock,
    },
    /// Put the working keys under a passphrase, which the node needs at each start
    Protect {
        /// Put them in plain files again; to change the passphrase, do this first.
        #[arg(long)]
        remove: bool,
        /// A file whose first line is the passphrase.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Change name, identifiers, domain or witnesses; the current controllers sign
    Profile {
        /// What is new.
        #[command(flatten)]
        profile: NewProfile,
        /// Who signs.
        #[command(flatten)]
        signing: Signing,
    },
    /// Say which authorities take over from this one
    Succeed {
        /// Their authority ids.
        #[arg(value_name = "AUTHORITY", required = true)]
        successors: Vec<AuthorityId>,
        /// Who signs.
        #[command(flatten)]
        controllers: Establishing,
    },
    /// Sign a change that was handed on to you (needs no data directory)
    Sign {
        /// The change. Your signature is added to the file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Your key file; may be repeated.
        #[arg(long, value_name = "KEYFILE", required = true)]
        with: Vec<PathBuf>,
        /// A file whose first line is the passphrase of the key file.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Install a change that enough controllers have signed
    Apply {
        /// The change; several copies, each with other signatures, are put together.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Throw away a change that waits for signatures, with its new keys
    Discard,
}

/// What opens the working keys, where they lie under a passphrase; new ones will
/// lie under the same.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Unlock {
    /// A file whose first line is the passphrase of the node's working keys, if they
    /// lie under one.
    #[arg(long, value_name = "FILE")]
    node_passphrase_file: Option<PathBuf>,
}

impl Unlock {
    fn source(&self) -> Source<'_> {
        Source { file: self.node_passphrase_file.as_deref(), option: "--node-passphrase-file" }
    }
}

/// Which working keys get replaced.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Renew {
    /// The key that signs this authority's log.
    #[arg(long)]
    log: bool,
    /// The key that cosigns others' logs.
    #[arg(long)]
    witness: bool,
    /// The key by which partners know this node; send them the new card afterwards.
    #[arg(long)]
    node: bool,
    /// The key that receives group secrets.
    #[arg(long)]
    sealing: bool,
}

/// Who signs now, and where the change goes if that is not enough.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Signing {
    /// Key file of a controller who signs now; may be repeated. Without it, those
    /// that still lie in the data directory.
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// A file whose first line is the passphrase of the key files.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Where the change is written if signatures are missing.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Who takes over as controllers, and who after them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Establishing {
    #[command(flatten)]
    signing: Signing,
    /// Public key of a controller who signs later; may be repeated.
    #[arg(long, value_name = "PUBLIC")]
    controller: Vec<PublicKey>,
    /// Directory for the key of the controllers after these, off this machine.
    #[arg(long, value_name = "DIR", conflicts_with = "next_controller")]
    next_controllers: Option<PathBuf>,
    /// Public key of a controller after these; may be repeated.
    #[arg(long, value_name = "PUBLIC")]
    next_controller: Vec<PublicKey>,
    /// How many of them will have to sign; all, unless said.
    #[arg(long, value_name = "K", requires = "next_controller")]
    next_threshold: Option<u32>,
}

/// What is to be said of the authority from now on; the rest stays.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NewProfile {
    /// Its legal name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its identifiers in public registers, in the place of those before.
    #[arg(long, value_name = "SCHEME-ID")]
    org_id: Vec<String>,
    /// Its other names, in the place of those before.
    #[arg(long, value_name = "NAME")]
    also_known_as: Vec<String>,
    /// Its internet domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Authorities whose cosignatures count, in the place of those before.
    #[arg(long, value_name = "AUTHORITY")]
    witness: Vec<AuthorityId>,
    /// How many of the witnesses confirm a record.
    #[arg(long, value_name = "K")]
    quorum: Option<u32>,
}

impl Key {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]: the node is running, keys or signatures are missing, or a
    /// file cannot be read or written.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        match self {
            Self::Show { look } => show::show(&global.place()?, look),
            Self::New { file, passphrase_file } => make(file, passphrase_file.as_deref()),
            Self::Rotate { renewal, controllers, unlock } => {
                change::rotate(global, *renewal, controllers, unlock)
            }
            Self::Protect { remove, passphrase_file } => {
                protect::protect(global, *remove, passphrase_file.as_deref())
            }
            Self::Recover { at, head, card, controllers, unlock } => {
                let from = recover::From { at: *at, head: head.as_deref(), card: card.as_deref() };
                recover::recover(global, from, controllers, unlock)
            }
            Self::Profile { profile, signing } => change::profile(global, profile, signing),
            Self::Succeed { successors, controllers } => {
                change::succeed(global, successors, controllers)
            }
            Self::Sign { file, with, passphrase_file } => {
                sign::sign(global, file, with, passphrase_file.as_deref())
            }
            Self::Apply { files } => sign::apply(global, files),
            Self::Discard => sign::discard(global),
        }
    }
}

fn make(file: &Path, passphrase_file: Option<&Path>) -> Result<Answer, Failure> {
    let passphrase = new_passphrase(passphrase_file)?;
    let made = ControllerFile::create(file, passphrase.as_ref(), Cost::USUAL)?;
    let how = match made.is_sealed() {
        true => "It lies under the passphrase",
        false => "It is NOT under a passphrase",
    };
    let text = format!(
        "public key  {}\n\n{how}. Keep {} to yourself, off the server, and a\n\
         copy of it elsewhere. Hand on the public key only.\n",
        made.public(),
        file.display(),
    );
    let json = json!({
        "file": file, "public": made.public().to_string(), "encrypted": made.is_sealed(),
    });
    Ok(Answer::done(text, json))
}
