//! `tally partner check`: whether the domain that an authority claims names it.

use serde_json::json;

use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::wording::{clean, known, pairs, related};
use crate::domain::url;
use crate::failure::{Failure, FailureKind};
use crate::service::answer::{DomainChecked, NamePartner};

/// Has the node ask, and tells what it heard.
pub(super) fn run(global: &Global, authority: &str) -> Result<Answer, Failure> {
    let name = NamePartner { authority: authority.to_owned() };
    let checked: DomainChecked = global.client()?.post("partners/check", &name)?;
    let answer = Answer::done(text(&checked), json!(checked));
    Ok(if checked.proven { answer } else { answer.with_exit(FailureKind::No) })
}

fn text(checked: &DomainChecked) -> String {
    let (name, domain) = (clean(&checked.name), clean(&checked.domain));
    let first = match &checked.failure {
        None => format!("{domain} names {name} as its own."),
        Some(failure) => {
            let remedy = checked.remedy.as_deref().unwrap_or_default();
            format!(
                "{domain} does not confirm {name}: {}.\nWhat to do: {}.",
                clean(failure),
                clean(remedy)
            )
        }
    };
    let facts = pairs([
        ("authority", checked.authority.to_string()),
        ("identity", known(&checked.known.confirmation)),
        ("succeeded by", related(&checked.known.succeeded_by)),
        ("read at", clean(&url(&checked.domain))),
    ]);
    format!("{first}\n\n{facts}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::confirmation::Confirmation;
    use tallystick_protocol::id::AuthorityId;
    use tallystick_protocol::time::UnixTime;

    #[test]
    fn what_a_domain_says_is_told_with_what_to_do() {
        let (at, domain) = (UnixTime::from_seconds(5), "oak.gov.uk".to_owned());
        let good = DomainChecked {
            authority: AuthorityId::from_bytes([2; 32]),
            name: "Oak Council".to_owned(),
            known: Confirmation::DomainProven { at, domain: domain.clone() }.into(),
            domain,
            proven: true,
            failure: None,
            remedy: None,
        };
        let bad = DomainChecked {
            known: Confirmation::SelfAsserted.into(),
            proven: false,
            failure: Some("oak.gov.uk names other authorities, and not this one".to_owned()),
            remedy: Some("ask them".to_owned()),
            ..good.clone()
        };
        insta::assert_snapshot!([text(&good), text(&bad)].join("----\n"));
    }
}
