//! `tally init`: makes the identity, keys and configuration of an authority.
//!
//! The controller keys, with which the authority stands or falls, go straight
//! to the places named for them, under a passphrase. Without places they lie in
//! `keys/`, and it is said loudly that they must not stay there. Several people
//! name keys of their own instead, and sign the first event one after the other.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tallystick_protocol::card::fingerprint;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{NextControllers, Profile, Role, commit_to_key};
use tallystick_protocol::key::PublicKey;
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::question::{Source, new_passphrase};
use super::whoami::domain_note;
use super::wording::clean;
use crate::config::{Config, Place};
use crate::failure::Failure;
use crate::keys::{self, Cost, DraftFile, Founded, Founders, KeyPlace, Passphrase, WrappingKey};

/// Make an authority: its identity, keys and configuration (needs no running node)
#[derive(Clone, Debug, clap::Args)]
pub struct Init {
    /// The authority's legal name.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its identifier in a public register, for instance GB-LAE-ASH; may be repeated.
    #[arg(long, value_name = "SCHEME-ID")]
    org_id: Vec<String>,
    /// Another name under which it buys; may be repeated.
    #[arg(long, value_name = "NAME")]
    also_known_as: Vec<String>,
    /// Its internet domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// What it is on the network.
    #[arg(long, value_enum, default_value_t = RoleName::Buyer)]
    role: RoleName,
    /// The network it joins; nodes of different networks never exchange anything.
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Put the node's own keys under a passphrase, which it needs at each start;
    /// `tally key protect` does so later.
    #[arg(long)]
    protect: bool,
    /// A file whose first line is that passphrase.
    #[arg(long, value_name = "FILE", requires = "protect")]
    node_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    control: Control,
}

/// Who controls the new authority: the keys that can replace all others.
#[derive(Clone, Debug, Default, clap::Args)]
struct Control {
    /// Directory for the controller key, off this machine, for instance a memory stick.
    #[arg(long, value_name = "DIR", requires = "next_controllers", help_heading = "Controllers")]
    controllers: Option<PathBuf>,
    /// Directory for the key of the controllers after it; another stick, kept elsewhere.
    #[arg(long, value_name = "DIR", requires = "controllers", help_heading = "Controllers")]
    next_controllers: Option<PathBuf>,
    /// A file whose first line is the passphrase for both; asked for on a terminal.
    #[arg(long, value_name = "FILE", help_heading = "Controllers")]
    passphrase_file: Option<PathBuf>,
    /// Several people: public key of one, made with `tally key new`; may be repeated.
    #[arg(long, value_name = "PUBLIC", requires = "next_controller", help_heading = "Controllers",
        conflicts_with_all = ["controllers", "next_controllers", "passphrase_file"])]
    controller: Vec<PublicKey>,
    /// How many of them must sign; all, unless said.
    #[arg(long, value_name = "K", requires = "controller", help_heading = "Controllers")]
    threshold: Option<u32>,
    /// Public key of one of those after them; may be repeated.
    #[arg(long, value_name = "PUBLIC", requires = "controller", help_heading = "Controllers")]
    next_controller: Vec<PublicKey>,
    /// How many of those must sign; all, unless said.
    #[arg(long, value_name = "K", requires = "next_controller", help_heading = "Controllers")]
    next_threshold: Option<u32>,
    /// Where the first event is written that several people have to sign.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "inception.draft",
        help_heading = "Controllers"
    )]
    output: PathBuf,
}

impl Control {
    fn passphrase(&self) -> Result<Option<Passphrase>, Failure> {
        match self.controller.is_empty() {
            true => new_passphrase(self.passphrase_file.as_deref()),
            false => Ok(None),
        }
    }

    fn founders<'a>(&'a self, passphrase: Option<&'a Passphrase>) -> Founders<'a> {
        if self.controller.is_empty() {
            let place = |dir: &'a Option<PathBuf>| {
                dir.as_deref().map_or(KeyPlace::DataDirectory, KeyPlace::Directory)
            };
            let (first, next) = (place(&self.controllers), place(&self.next_controllers));
            return Founders::Made { first, next, passphrase, cost: Cost::USUAL };
        }
        let all = |keys: &[PublicKey]| u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let next = NextControllers {
            key_hashes: self.next_controller.iter().map(commit_to_key).collect(),
            threshold: self.next_threshold.unwrap_or_else(|| all(&self.next_controller)),
        };
        let threshold = self.threshold.unwrap_or_else(|| all(&self.controller));
        Founders::Named(self.controller.clone(), threshold, next)
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleName {
    /// Buys goods, works and services.
    Buyer,
    /// A centre of excellence or central buying organisation.
    Centre,
    /// Verifies; publishes no contracts.
    Auditor,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Buyer => Self::Buyer,
            RoleName::Centre => Self::Centre,
            RoleName::Auditor => Self::Auditor,
        }
    }
}

impl Init {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`keys::create`].
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let place = global.place()?;
        let network = self.network(&place)?;
        let ids = self.org_id.iter().map(|id| keys::parse_organisation_id(id));
        let profile = Profile {
            name: self.name.clone(),
            also_known_as: self.also_known_as.clone(),
            organisation_ids: ids.collect::<Result<_, _>>()?,
            domain: self.domain.clone(),
            role: self.role.into(),
        };
        if let Some(domain) = &profile.domain {
            keys::check_domain(domain)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::internal)?;
        let issued = UnixTime::from_seconds(now.as_secs());
        let passphrase = self.control.passphrase()?;
        let founders = self.control.founders(passphrase.as_ref());
        let key = self.wrapping_key(&place)?;
        match keys::found(&place, &network, profile, issued, &founders, key.as_ref())? {
            Founded::Draft(draft) => self.drafted(&place, &network, &draft),
            Founded::Identity(identity, controllers) => {
                let authority = identity.authority();
                let json = json!({
                    "authority": authority,
                    "name": self.name,
                    "network": network,
                    "fingerprint": fingerprint(&authority),
                    "data": place.data(),
                    "config": place.config(),
                    "controllerKeys": controllers,
                    "encrypted": passphrase.is_some(),
                    "protected": self.protect,
                });
                let id = (fingerprint(&authority), authority.to_string());
                let encrypted = passphrase.is_some();
                let mut text = self.text(&place, (&id.0, &id.1), &controllers, encrypted);
                if let Some(domain) = &self.domain {
                    text.push_str(&domain_note(domain, &authority));
                }
                Ok(Answer::done(text, json))
            }
        }
    }

    fn wrapping_key(&self, place: &Place) -> Result<Option<WrappingKey>, Failure> {
        let file = self.node_passphrase_file.as_deref();
        let source = Source { file, option: "--node-passphrase-file" };
        let make = |passphrase| WrappingKey::new(&passphrase, Cost::USUAL);
        self.protect.then(|| source.choose(place.data()).and_then(make)).transpose()
    }

    fn drafted(
        &self,
        place: &Place,
        network: &NetworkName,
        draft: &DraftFile,
    ) -> Result<Answer, Failure> {
        let file = &self.control.output;
        draft.write(file)?;
        let json = json!({
            "authority": draft.authority(),
            "name": self.name,
            "network": network,
            "data": place.data(),
            "config": place.config(),
            "file": file,
            "missing": draft.draft().missing(),
        });
        let text = format!(
            "{name} is prepared in {data}. It exists once {missing} of its controllers have signed.

Hand {file} on to them. Each signs it on a machine of their own, with

  tally key sign {file} --with KEYFILE

Then, here: `tally key apply {file} --data {data}`. Several copies, each signed by
other people, may be given at once.
",
            name = clean(&self.name),
            data = place.data().display(),
            missing = draft.draft().missing(),
            file = file.display(),
        );
        Ok(Answer::done(text, json))
    }

    /// The network named, else the one of a configuration that is there, else the usual one.
    fn network(&self, place: &Place) -> Result<NetworkName, Failure> {
        let configured = match place.config().exists() {
            true => Some(Config::load(place.config())?.network),
            false => None,
        };
        let Some(name) = &self.network else {
            return Ok(configured.unwrap_or_else(|| Config::default().network));
        };
        let name: NetworkName = name.parse().map_err(|error| {
            Failure::usage(
                format!("{name:?}: {error}"),
                "a network name has 1 to 32 lower-case letters, digits or hyphens",
            )
        })?;
        match configured {
            Some(other) if other != name => Err(Failure::usage(
                format!("{} is set up for the network {other}", place.config().display()),
                "give the same network to --network, or correct the file",
            )),
            _ => Ok(name),
        }
    }

    fn text(
        &self,
        place: &Place,
        (fingerprint, authority): (&str, &str),
        controllers: &[PathBuf; 2],
        encrypted: bool,
    ) -> String {
        let data = place.data().display();
        let advice = match self.control.controllers {
            Some(_) => placed(controllers, encrypted),
            None => to_be_moved(&place.file(keys::KEYS_DIR), encrypted),
        };
        format!(
            "{name} is set up in {data}.

authority    {authority}
fingerprint  {fingerprint}
config       {config}

{advice}
Next: `tally run --data {data}` starts the node, `tally whoami --data {data}`
shows the card for your partners.
",
            name = clean(&self.name),
            config = place.config().display(),
        )
    }
}

/// What to know of controller keys that are where they should be.
fn placed([first, next]: &[PathBuf; 2], encrypted: bool) -> String {
    let lock = match encrypted {
        true => "They are of no use without the passphrase: write it down, and keep it elsewhere.",
        false => "They are NOT under a passphrase: whoever finds them can use them at once.",
    };
    format!(
        "The two controller keys, which can replace all others, are here:

  {}
  {}

{lock}
Take them off this machine, make a copy of each, and keep the two in different
places. Without the second, the other keys cannot be replaced after a theft or loss.
",
        first.display(),
        next.display(),
    )
}

/// What to do with controller keys that lie where they must not stay.
fn to_be_moved(keys: &Path, encrypted: bool) -> String {
    let keys = keys.display();
    let lock = match encrypted {
        true => "",
        false => {
            " They are not\nencrypted; `--controllers DIR --next-controllers DIR` puts them in place at once."
        }
    };
    format!(
        "Do this now: move the two controller keys off this machine. Whoever has them
can take over this authority's identity, and the node does not need them.{lock}

  cp {keys}/controller.key  /media/SAFE-1/
  cp {keys}/controller.next /media/SAFE-2/
  shred -u {keys}/controller.key {keys}/controller.next

Keep the two in different places. Without them the other keys cannot be
replaced after a theft or loss.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(name: &str) -> Init {
        Init {
            name: name.to_owned(),
            org_id: vec!["GB-LAE-ASH".to_owned()],
            also_known_as: Vec::new(),
            domain: None,
            role: RoleName::Buyer,
            network: Some("test".to_owned()),
            protect: false,
            node_passphrase_file: None,
            control: Control { output: "inception.draft".into(), ..Control::default() },
        }
    }

    #[test]
    fn it_says_plainly_what_to_do_with_the_controller_keys() {
        let place = Place::at(Path::new("/srv/ash"));
        let files = keys::controller_files(place.data());
        let text = init("Ash Council").text(&place, ("1234 5678", "tally1ash"), &files, false);
        insta::assert_snapshot!(text);
        let mut with_sticks = init("Ash Council");
        with_sticks.control.controllers = Some("/media/one".into());
        let files = ["/media/one/controller-1.key".into(), "/media/two/controller-2.key".into()];
        for encrypted in [true, false] {
            let text = with_sticks.text(&place, ("1234 5678", "tally1ash"), &files, encrypted);
            assert!(!text.contains("shred") && text.contains("/media/two/controller-2.key"));
            assert_eq!(text.contains("NOT under a passphrase"), !encrypted);
        }
    }

    #[test]
    fn a_configuration_that_is_there_decides_the_network() {
        let dir = tempfile::tempdir().unwrap();
        let global = Global { data: Some(dir.path().to_owned()), ..Global::default() };
        std::fs::write(dir.path().join("tally.toml"), "network = \"oak-net\"\n").unwrap();
        let failure = init("Ash Council").run(&global).unwrap_err();
        assert!(failure.error.contains("set up for the network oak-net"), "{failure}");
        let command = Init { network: None, ..init("Ash Council") };
        let answer = command.run(&global).unwrap();
        assert_eq!(answer.json["network"], "oak-net");
        assert!(answer.text.contains("shred -u"));
    }
}
