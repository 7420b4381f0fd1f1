//! `tally partner endorse`: saying publicly that a partner is who it says it is.

use serde_json::json;

use crate::cli::Global;
use crate::cli::output::{Answer, ask};
use crate::cli::wording::{clean, pairs};
use crate::failure::Failure;
use crate::service::answer::{Endorse, Endorsed};

/// Shows what would be said, asks, and says it.
pub(super) fn run(global: &Global, authority: &str, withdraw: bool) -> Result<Answer, Failure> {
    let client = global.client()?;
    let asked = Endorse { authority: authority.to_owned(), withdraw, preview: true, digest: None };
    let preview: Endorsed = client.post("partners/endorse", &asked)?;
    if !preview.changed {
        return Ok(Answer::done(text(&preview), json!(preview)));
    }
    ask(&question(&preview), global.yes)?;
    let asked = Endorse { preview: false, digest: Some(preview.digest), ..asked };
    let said: Endorsed = client.post("partners/endorse", &asked)?;
    Ok(Answer::done(text(&said), json!(said)))
}

fn question(preview: &Endorsed) -> String {
    let claims = claims(preview);
    if preview.endorsed {
        format!(
            "You are about to say publicly, for everybody and for good, that you know the authority\n\n\
             {claims}\n\
             to be what it says here. Endorse it?"
        )
    } else {
        format!(
            "You are about to say publicly that you do not endorse this authority any more; that\n\
             you once did stays in your log.\n\n{claims}\nTake it back?"
        )
    }
}

fn text(said: &Endorsed) -> String {
    let name = clean(&said.name);
    let first = match (said.endorsed, said.changed) {
        (true, true) => format!("{name} is endorsed now."),
        (true, false) => format!("{name} is endorsed already."),
        (false, true) => format!("{name} is not endorsed any more."),
        (false, false) => format!("{name} was not endorsed."),
    };
    let unsigned = match said.signed {
        Some(false) => "\nIt is stored and will be signed as soon as a partner has been heard.\n",
        _ => "",
    };
    format!("{first}\n\n{}{unsigned}", claims(said))
}

fn claims(said: &Endorsed) -> String {
    pairs([
        ("authority", said.authority.to_string()),
        ("name", clean(&said.name)),
        ("identifiers", clean(&said.organisation_ids.join(" "))),
        ("domain", clean(said.domain.as_deref().unwrap_or_default())),
        ("ref", said.reference.clone().unwrap_or_default()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::id::{AuthorityId, Hash};

    #[test]
    fn people_see_what_they_are_about_to_say() {
        let said = Endorsed {
            authority: AuthorityId::from_bytes([2; 32]),
            name: "Oak Council".to_owned(),
            organisation_ids: vec!["GB-LAE-XOA".to_owned()],
            domain: Some("oak.gov.uk".to_owned()),
            digest: Hash::from_bytes([3; 32]),
            endorsed: true,
            changed: true,
            reference: Some("tally1oak/00@0.7".to_owned()),
            signed: Some(false),
        };
        let withdrawn = Endorsed { endorsed: false, reference: None, ..said.clone() };
        insta::assert_snapshot!(
            [question(&said), text(&said), question(&withdrawn), text(&withdrawn)].join("\n----\n")
        );
    }
}
