//! `tally init`: makes the identity, keys and configuration of an authority.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tallystick_protocol::card::fingerprint;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{Profile, Role};
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::whoami::domain_note;
use super::wording::clean;
use crate::config::{Config, Place};
use crate::failure::Failure;
use crate::keys;

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
        let identity = keys::create(&place, &network, profile, issued)?;
        let authority = identity.authority();
        let controllers = keys::controller_files(place.data());
        let json = json!({
            "authority": authority,
            "name": self.name,
            "network": network,
            "fingerprint": fingerprint(&authority),
            "data": place.data(),
            "config": place.config(),
            "controllerKeys": controllers,
        });
        let mut text = self.text(&place, &fingerprint(&authority), &authority.to_string());
        if let Some(domain) = &self.domain {
            text.push_str(&domain_note(domain, &authority));
        }
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

    fn text(&self, place: &Place, fingerprint: &str, authority: &str) -> String {
        let data = place.data().display();
        let keys = place.file(keys::KEYS_DIR);
        let keys = keys.display();
        format!(
            "{name} is set up in {data}.

authority    {authority}
fingerprint  {fingerprint}
config       {config}

Do this now: move the two controller keys off this machine. Whoever has them
can take over this authority's identity, and the node does not need them.

  cp {keys}/controller.key  /media/SAFE-1/
  cp {keys}/controller.next /media/SAFE-2/
  shred -u {keys}/controller.key {keys}/controller.next

Keep the two in different places. Without them the other keys cannot be
replaced after a theft or loss.

Next: `tally run --data {data}` starts the node, `tally whoami --data {data}`
shows the card for your partners.
",
            name = clean(&self.name),
            config = place.config().display(),
        )
    }
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
        }
    }

    #[test]
    fn it_says_plainly_what_to_do_with_the_controller_keys() {
        let place = Place::at(std::path::Path::new("/srv/ash"));
        insta::assert_snapshot!(init("Ash Council").text(&place, "1234 5678", "tally1ash"));
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
