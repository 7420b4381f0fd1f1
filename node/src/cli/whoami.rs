//! `tally whoami`: the authority, its card, and the fingerprint to read out.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tallystick_protocol::card::{Card, UnverifiedCard, Validity};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::question::Source;
use super::wording::{clean, pairs, related, time};
use crate::config::{Config, Place};
use crate::domain;
use crate::failure::{Failure, FailureKind};
use crate::keys::{self, NodeKeys};
use crate::service::answer;
use crate::service::{card_addresses, whoami};

/// Show this authority's id, card and fingerprint (needs no running node)
#[derive(Clone, Debug, clap::Args)]
pub struct Whoami {
    /// For how many days others can be made partners by the card.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Validity::USUAL_DAYS,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(Validity::MOST_DAYS)),
    )]
    valid_days: u16,
    /// A file whose first line is the passphrase of the node's keys, if they lie under
    /// one and the node does not run.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Whoami {
    /// Runs the command. A running node knows its addresses best; without one
    /// the card has those of the configuration.
    ///
    /// # Errors
    /// A [`Failure`] if there is no authority, or its files are damaged.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let place = global.place()?;
        let days = [("validDays", self.valid_days.to_string())];
        let running = global.client().and_then(|client| client.get("whoami", &days));
        let found: answer::Whoami = match running {
            Err(failure) if failure.kind == FailureKind::Unavailable => self.offline(&place)?,
            running => running?,
        };
        let network = found.network.parse().map_err(Failure::internal)?;
        let card = UnverifiedCard::parse(&found.card).and_then(|card| card.verify(&network));
        let armour = card.map_err(Failure::internal)?.to_armour();
        let json = serde_json::to_value(&found).map_err(Failure::internal)?;
        let json = with_armour(json, &armour);
        Ok(Answer::done(text(&found, &armour), json))
    }

    fn offline(&self, place: &Place) -> Result<answer::Whoami, Failure> {
        let config = Config::load(place.config())?;
        let identity = keys::load_identity(place.data(), &config.network)?;
        let source = Source { file: self.passphrase_file.as_deref(), option: "--passphrase-file" };
        let passphrase = source.open(place.data())?;
        let keys = NodeKeys::load(place.data(), &identity, passphrase.as_ref())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::internal)?;
        let addresses = card_addresses(&config, &[]);
        let validity = Validity::days(UnixTime::from_seconds(now.as_secs()), self.valid_days);
        let card = Card::issue(&identity, &keys.node, &addresses, validity);
        whoami(&card.map_err(Failure::internal)?)
    }
}

fn with_armour(mut json: serde_json::Value, armour: &str) -> serde_json::Value {
    if let Some(object) = json.as_object_mut() {
        object.insert("armour".to_owned(), json!(armour));
    }
    json
}

/// What to put at the domain that an authority claims.
pub(super) fn domain_note(domain: &str, authority: &AuthorityId) -> String {
    format!(
        "
So that others see your name as confirmed, have your web site say that this is
you: a text file at {url} with this line
(more lines if several authorities share the domain; # begins a comment):

  {line}
`tally partner check {authority}`
asks it as others do.
",
        url = clean(&domain::url(domain)),
        line = domain::file(authority),
    )
}

fn text(found: &answer::Whoami, armour: &str) -> String {
    let reach = match found.addresses.as_slice() {
        [] => "none on the card: partners cannot reach this node, it dials them".to_owned(),
        addresses => addresses.join(" "),
    };
    let facts = pairs([
        ("authority", found.authority.to_string()),
        ("fingerprint", found.fingerprint.clone()),
        ("network", clean(&found.network)),
        ("succeeded by", related(&found.succeeded_by)),
        ("succeeds", related(&found.succeeds)),
        ("addresses", clean(&reach)),
        ("card", format!("valid until {}", time(UnixTime::from_seconds(found.valid_until)))),
    ]);
    format!(
        "{name}

{facts}
Send this card to a partner, who adds it with `tally partner add FILE`. Then
compare the fingerprint over the telephone.
{proof}
{armour}",
        proof = found
            .domain
            .as_deref()
            .map(|domain| domain_note(domain, &found.authority))
            .unwrap_or_default(),
        name = clean(&found.name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_node_the_card_is_made_from_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("ash");
        let global = Global { data: Some(data), ..Global::default() };
        let whoami = Whoami { valid_days: 3, passphrase_file: None };
        let missing = whoami.run(&global).unwrap_err();
        assert_eq!(missing.kind.exit_code(), 3);
        let place = global.place().unwrap();
        let profile = tallystick_protocol::identity::Profile {
            name: "Ash Council".to_owned(),
            domain: Some("ash.gov.uk".to_owned()),
            ..Default::default()
        };
        let network = Config::default().network;
        keys::create(&place, &network, profile, UnixTime::from_seconds(1)).unwrap();
        let answer = whoami.run(&global).unwrap();
        assert_eq!(answer.json["name"], "Ash Council");
        let read = |text: &str| UnverifiedCard::parse(text).unwrap().verify(&network).unwrap();
        let card = read(answer.json["card"].as_str().unwrap());
        assert_eq!(card, read(&answer.text));
        assert_eq!(answer.json["authority"], card.authority().to_string());
        assert_eq!(answer.json["fingerprint"], card.fingerprint());
        assert_eq!(answer.json["domain"], "ash.gov.uk");
        assert_eq!(card.valid_until().as_seconds(), card.issued().as_seconds() + 3 * 86_400);
        assert_eq!(answer.json["validUntil"], card.valid_until().as_seconds());
        assert!(answer.text.contains("  valid until "), "{}", answer.text);
        let proof = "https://ash.gov.uk/.well-known/tallystick with this line";
        assert!(answer.text.contains(proof), "{}", answer.text);
        assert!(answer.text.contains(&format!("\n  {}\n", card.authority())), "{}", answer.text);
    }
}
