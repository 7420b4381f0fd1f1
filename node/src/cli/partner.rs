//! `tally partner`: whose logs this node keeps, and who may connect.

mod check;
mod endorse;

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::json;
use tallystick_protocol::limits;
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::wording::{COLUMNS, clean, known, pairs, related, several, time, wrap};
use crate::failure::Failure;
use crate::service::answer::{
    AddPartner, DomainView, NamePartner, PartnerChange, PartnerView, Partners,
};

/// Add, accept, list or remove partners
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Partner {
    /// Add a partner from its card; the other side sees a request
    Add {
        /// The card, the file it is in, or - for standard input.
        #[arg(value_name = "CARD|FILE")]
        card: String,
    },
    /// List partners, and nodes that would like to be partners
    List,
    /// Accept a node that would like to be a partner
    Accept {
        /// Its authority id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
    },
    /// Look whether the domain that an authority claims names it
    Check {
        /// Its authority id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
    },
    /// Say publicly that a partner is who it says it is; asks first
    Endorse {
        /// Its authority id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
        /// Take the endorsement back.
        #[arg(long)]
        withdraw: bool,
    },
    /// End a partnership or turn down a request; what was received stays
    Remove {
        /// Its authority id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
    },
}

impl Partner {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] by the node, or if the card cannot be read.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        match self {
            Self::Add { card } => {
                let card = read_card(card)?;
                let change = global.client()?.post("partners", &AddPartner { card })?;
                Ok(changed(&change, "is a partner now", "is a partner already"))
            }
            Self::List => {
                let partners = global.client()?.get("partners", &[])?;
                Ok(Answer::done(listed(&partners), json!(partners)))
            }
            Self::Accept { authority } => {
                let name = NamePartner { authority: authority.clone() };
                let change = global.client()?.post("partners/accept", &name)?;
                Ok(changed(&change, "is a partner now", "is a partner already"))
            }
            Self::Check { authority } => check::run(global, authority),
            Self::Endorse { authority, withdraw } => endorse::run(global, authority, *withdraw),
            Self::Remove { authority } => {
                let name = NamePartner { authority: authority.clone() };
                let change = global.client()?.post("partners/remove", &name)?;
                Ok(changed(&change, "is no partner any more", "was no partner"))
            }
        }
    }
}

/// A card given as text, or the content of the file that is named.
fn read_card(given: &str) -> Result<String, Failure> {
    if given.contains("tallystick-card:") || given.contains("TALLYSTICK CARD") {
        return Ok(given.to_owned());
    }
    let most = limits::CARD_TEXT_BYTES as u64;
    let mut bytes = Vec::new();
    let read = if given == "-" {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(Path::new(given))
            .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Failure::usage(
            format!("the card {given:?} cannot be read ({error})"),
            "give the file with the card, or the card itself in quotation marks",
        )
    })?;
    if bytes.len() as u64 > most {
        return Err(Failure::usage(
            format!("{given} is too large to be a card"),
            "give the file that the partner sent",
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn changed(change: &PartnerChange, done: &str, already: &str) -> Answer {
    let partner = &change.partner;
    let word = if change.changed { done } else { already };
    let mut text = format!("{} {word}.\n\n{}", clean(&partner.name), view(partner));
    if done == "is a partner now" && change.changed {
        text.push_str(
            "\nIts name counts as pinned from now on, because you said who it is. If you have not\n\
             done so, compare the fingerprint with them over a telephone number that you know\n\
             from elsewhere; `tally partner remove` takes the partnership back.\n",
        );
    }
    Answer::done(text, json!(change))
}

fn view(partner: &PartnerView) -> String {
    let endorsed = match partner.endorsements {
        0 => String::new(),
        by => format!("by {} of yours", several(by as u64, "partner")),
    };
    let mut text = pairs([
        ("authority", partner.authority.to_string()),
        ("fingerprint", partner.fingerprint.clone()),
        ("identity", known(&partner.known.confirmation)),
        ("succeeded by", related(&partner.known.succeeded_by)),
        ("succeeds", related(&partner.known.succeeds)),
        ("claims", clean(&partner.organisation_ids.join(" "))),
        ("domain", domain(partner)),
        ("endorsed", endorsed),
        ("addresses", clean(&partner.addresses.join(" "))),
    ]);
    for warning in warnings(partner) {
        for (at, line) in wrap(&warning, COLUMNS - 2).iter().enumerate() {
            text.push_str(if at == 0 { "! " } else { "  " });
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The domain it claims, and what that says.
fn domain(partner: &PartnerView) -> String {
    let Some(domain) = &partner.domain else { return String::new() };
    let day = |seconds| time(UnixTime::from_seconds(seconds));
    let said = match &partner.domain_proof {
        None => "not asked yet".to_owned(),
        Some(DomainView { failure: Some(failure), proven: None, .. }) => failure.clone(),
        Some(DomainView { failure: Some(failure), proven: Some(at), .. }) => {
            format!("named it on {}; now {failure}", day(*at))
        }
        Some(DomainView { checked, .. }) => format!("names it, as of {}", day(*checked)),
    };
    clean(&format!("{domain}: {said}"))
}

/// What should be looked at before the name is believed.
fn warnings(partner: &PartnerView) -> Vec<String> {
    let alike = partner.lookalikes.iter().map(|other| {
        format!(
            "This name {} that of {:?} ({}), which you know as {}. Make sure which of them this is.",
            clean(&other.resemblance),
            clean(&other.name),
            known(&other.known.confirmation),
            other.authority,
        )
    });
    let odd = partner.oddities.iter().map(|odd| format!("Look at this: {}.", clean(odd)));
    let stale = partner.out_of_date.iter().map(|why| format!("Ask for a fresh card: {why}."));
    stale.chain(alike).chain(odd).collect()
}

fn listed(partners: &Partners) -> String {
    let mut text = String::new();
    if partners.partners.is_empty() {
        text.push_str("No partners yet. `tally whoami` shows the card to send to one.\n");
    } else {
        text.push_str(&format!("{}\n", several(partners.partners.len() as u64, "partner")));
    }
    for partner in &partners.partners {
        let connected = if partner.connected { "connected" } else { "not connected" };
        text.push_str(&format!("\n{} ({connected})\n{}", clean(&partner.name), view(partner)));
    }
    if !partners.requests.is_empty() {
        let number = several(partners.requests.len() as u64, "request");
        text.push_str(&format!("\n{number}: `tally partner accept AUTHORITY` accepts one\n"));
    }
    for request in &partners.requests {
        text.push_str(&format!("\n{}\n{}", clean(&request.name), view(request)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::answer::LookalikeView;
    use tallystick_protocol::confirmation::Confirmation;
    use tallystick_protocol::id::{AuthorityId, NodeId};

    fn partner(n: u8, connected: bool) -> PartnerView {
        PartnerView {
            authority: AuthorityId::from_bytes([n; 32]),
            name: format!("Borough {n}"),
            known: match connected {
                true => Confirmation::Pinned.into(),
                false => Confirmation::SelfAsserted.into(),
            },
            organisation_ids: vec![format!("GB-LAE-X{n}")],
            domain: connected.then(|| "one.gov.uk".to_owned()),
            domain_proof: connected.then_some(DomainView {
                checked: 1_774_965_900,
                proven: Some(1_774_965_900),
                failure: None,
            }),
            endorsements: usize::from(connected),
            fingerprint: "1234 5678 1234 5678 1234 5678".to_owned(),
            node: NodeId::from_bytes([n; 32]),
            addresses: vec!["/ip4/192.0.2.7/tcp/4817".to_owned()],
            connected,
            out_of_date: None,
            lookalikes: Vec::new(),
            oddities: Vec::new(),
        }
    }

    #[test]
    fn look_alikes_are_pointed_out_where_the_name_stands() {
        let alike = LookalikeView {
            authority: AuthorityId::from_bytes([1; 32]),
            name: "Borough 2".to_owned(),
            known: Confirmation::Pinned.into(),
            resemblance: "looks the same as".to_owned(),
        };
        let partner = PartnerView {
            lookalikes: vec![alike],
            oddities: vec!["the name \"B0rough\" has letters of several scripts".to_owned()],
            ..partner(2, true)
        };
        let answer = changed(
            &PartnerChange { partner, changed: true },
            "is a partner now",
            "is a partner already",
        );
        insta::assert_snapshot!(answer.text);
        assert_eq!(answer.json["partner"]["identity"], "pinned");
        assert_eq!(answer.json["partner"]["lookalikes"][0]["identity"], "pinned");
    }

    #[test]
    fn partners_and_requests_are_listed() {
        let partners =
            Partners { partners: vec![partner(1, true)], requests: vec![partner(2, false)] };
        insta::assert_snapshot!(listed(&partners));
        insta::assert_snapshot!(listed(&Partners::default()), @"No partners yet. `tally whoami` shows the card to send to one.");
    }

    #[test]
    fn cards_come_as_text_or_in_files() {
        assert_eq!(read_card("tallystick-card:AAAA").unwrap(), "tallystick-card:AAAA");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("card.txt");
        fs::write(&file, b"Dear all,\xff\n").unwrap();
        assert_eq!(read_card(file.to_str().unwrap()).unwrap(), "Dear all,\u{fffd}\n");
        assert_eq!(read_card("/nonexistent").unwrap_err().kind.exit_code(), 2);
        fs::write(&file, vec![b'x'; limits::CARD_TEXT_BYTES + 1]).unwrap();
        assert!(read_card(file.to_str().unwrap()).unwrap_err().error.contains("too large"));
    }
}
