//! Who may see what is shared: named by the user, or offered and confirmed,
//! never assumed.

use tallystick_protocol::record::{Audience as Offered, Kind, Record};

use super::Global;
use super::client::Client;
use super::output::write_note;
use super::question::says_yes;
use super::wording::{clean, several};
use crate::failure::Failure;
use crate::service::answer::{Audience, AudienceView, Audiences, Seller};

/// Most groups that an error lists.
const LISTED: usize = 5;

/// The options of commands that share something.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AudienceOptions {
    /// Let anyone read, copy and keep it: for what is public by law or decision.
    #[arg(long)]
    pub public: bool,
    /// Let the members of a private sharing group see it, and nobody else.
    #[arg(long, value_name = "GROUP", conflicts_with = "public")]
    pub into: Option<String>,
}

/// Who something is offered to when nobody is named (design section 1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    kind: Kind,
    to: Offered,
    what: &'static str,
}

impl Offer {
    /// The offer for a document.
    pub(super) fn of(record: &Record) -> Self {
        let fields = record.to_fields().unwrap_or_default();
        let (to, what) = record.description().offer(&fields);
        Self { kind: record.kind(), to, what }
    }

    /// The offer for an extract of a confidential record.
    pub(super) const fn extract(kind: Kind) -> Self {
        Self { kind, to: Offered::Public, what: "an extract, which says what more may know" }
    }

    /// The groups, those that are meant for this kind first.
    fn sorted<'a>(&self, groups: &'a [AudienceView]) -> Vec<&'a AudienceView> {
        let kind = self.kind.to_string();
        let mut sorted: Vec<_> = groups.iter().collect();
        sorted.sort_by_key(|group| !group.kinds.contains(&kind));
        sorted
    }

    /// The one group that is meant for this kind, or the only one there is.
    fn group<'a>(&self, groups: &'a [AudienceView]) -> Option<&'a AudienceView> {
        let kind = self.kind.to_string();
        let mut meant = groups.iter().filter(|group| group.kinds.contains(&kind));
        match (meant.next(), meant.next(), groups) {
            (Some(group), None, _) => Some(group),
            (None, _, [group]) => Some(group),
            _ => None,
        }
    }

    /// Asks whether it is to be shared as offered; `None` if there is nobody to
    /// ask, or nothing to be offered.
    fn asked(&self, groups: &[AudienceView]) -> Option<Result<Audience, ()>> {
        let public = AudienceView::public();
        let view = match self.to {
            Offered::Public => &public,
            Offered::Group => self.group(groups)?,
        };
        let question =
            format!("For {}, this is offered: {}.\nShare it so? [y/N]", self.what, who(view));
        says_yes(&question).map(|yes| match (yes, self.to) {
            (false, _) => Err(()),
            (true, Offered::Public) => Ok(Audience::Public),
            (true, Offered::Group) => Ok(Audience::Group(view.space.clone())),
        })
    }
}

impl AudienceOptions {
    /// The audience that was named; else the one that is offered, if somebody at
    /// the terminal confirms it.
    ///
    /// # Errors
    /// A [`Failure`] that lists the choices, what is offered first, and who is in
    /// them as far as a running node says.
    pub(super) fn named(&self, global: &Global, offer: Offer) -> Result<Audience, Failure> {
        match &self.into {
            Some(group) => return Ok(Audience::Group(group.clone())),
            None if self.public => return Ok(Audience::Public),
            None => {}
        }
        // Without a node it is not known which groups there are.
        let groups = global.client().and_then(|client| client.get("groups/audiences", &[]));
        let groups: Option<Audiences> = groups.ok();
        let groups = groups.as_ref().map(|all| all.audiences.as_slice());
        match groups.and_then(|groups| offer.asked(groups)) {
            Some(Ok(audience)) => Ok(audience),
            Some(Err(())) => Err(Failure::no("nothing was shared", choices(&offer, groups))),
            None => Err(Failure::usage(
                "nothing is shared until you say who may see it",
                choices(&offer, groups),
            )),
        }
    }
}

/// What may be added, the recommended first.
fn choices(offer: &Offer, groups: Option<&[AudienceView]>) -> String {
    let members = match groups {
        None => "its members only".to_owned(),
        Some([]) => "its members only; this node is in no group".to_owned(),
        Some(all) => {
            let listed: Vec<_> = offer.sorted(all).into_iter().take(LISTED).map(called).collect();
            let more = if all.len() > LISTED { ", …" } else { "" };
            format!("its members only: {}{more}", listed.join(", "))
        }
    };
    let anyone = "anyone: every node of the network and whoever they pass it on to";
    let why = format!("recommended for {}", offer.what);
    match offer.to {
        Offered::Public => {
            format!("add --public ({anyone}; {why}) or --into GROUP ({members})")
        }
        Offered::Group => format!("add --into GROUP ({members}; {why}) or --public ({anyone})"),
    }
}

fn called(group: &AudienceView) -> String {
    let name = group.name.as_deref().unwrap_or(&group.space);
    let members = several(group.members.unwrap_or(0) as u64, "member");
    let sellers = match group.sellers.len() {
        0 => String::new(),
        some => format!(", {some} of whom may also sell"),
    };
    format!("{} with {members}{sellers}", clean(name))
}

/// Says who will see it before it is shared; a group is named by its id from then on.
pub(super) fn confirmed(client: &Client, audience: Audience) -> Result<Audience, Failure> {
    if audience == Audience::Public {
        return Ok(audience);
    }
    let view: AudienceView = client.post("groups/audiences", &audience)?;
    write_note(&format!("this will be seen by {}", who(&view)));
    Ok(Audience::Group(view.space))
}

/// An audience in words: its name, how many are in it, who, and who of them also sells.
pub(super) fn who(audience: &AudienceView) -> String {
    if audience.members.is_none() {
        return "anyone, suppliers included".to_owned();
    }
    let name = |(at, name): (usize, &String)| {
        let seller = audience.sellers.iter().find(|seller| seller.member == at);
        format!("{}{}", clean(name), seller.map(sells).unwrap_or_default())
    };
    let names = audience.authorities.iter().enumerate().map(name).collect::<Vec<_>>();
    let left_out = match audience.not_looked_up {
        0 => String::new(),
        some => {
            format!("; of {} it is not known whether they sell", several(some as u64, "member"))
        }
    };
    format!("{}: {}{left_out}", called(audience), names.join(", "))
}

/// What is said of a member that also sells.
fn sells(seller: &Seller) -> String {
    let seen = several(seller.contracts, "contract");
    match (seller.contracts, seller.centre) {
        (0, _) => " (a buying organisation, which may sell to others)".to_owned(),
        (_, true) => format!(" (a buying organisation, and a supplier: {seen} seen)"),
        (_, false) => format!(" (also sells to the public sector: {seen} seen)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tallystick_protocol::id::AuthorityId;

    fn boroughs() -> AudienceView {
        AudienceView {
            space: "ab".repeat(32),
            name: Some("Seven boroughs".to_owned()),
            members: Some(2),
            authorities: vec!["Ash".to_owned(), "Oak\u{1b}[2J".to_owned()],
            ..AudienceView::public()
        }
    }

    fn offer(kind: Kind, json: serde_json::Value) -> Offer {
        Offer::of(&Record::from_json(kind, json).unwrap())
    }

    fn note() -> Offer {
        offer(Kind::PERFORMANCE, json!({ "supplier": { "name": "s" } }))
    }

    #[test]
    fn nothing_is_shared_without_an_audience_and_the_choices_are_named() {
        let global = Global { data: Some("/nonexistent".into()), ..Global::default() };
        let contract = offer(Kind::CONTRACT, json!({ "title": "t" }));
        let failure = AudienceOptions::default().named(&global, contract).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert!(failure.remedy.contains("--public (anyone"), "{failure}");
        // No yes given beforehand stands for an audience.
        let yes = Global { yes: true, ..global };
        assert_eq!(AudienceOptions::default().named(&yes, contract), Err(failure));
        let groups = [boroughs()];
        assert!(choices(&contract, Some(&groups)).contains("Seven boroughs with 2 members"));
        assert!(choices(&contract, Some(&[])).contains("in no group"));
    }

    #[test]
    fn what_is_recommended_comes_first_and_says_why() {
        let groups = [boroughs()];
        let contract = choices(&offer(Kind::CONTRACT, json!({ "title": "t" })), Some(&groups));
        assert!(contract.starts_with("add --public"), "{contract}");
        let priced =
            json!({ "title": "t", "items": [{ "unitPrice": { "amount": 1, "currency": "GBP" } }] });
        let priced = choices(&offer(Kind::CONTRACT, priced), Some(&groups));
        assert!(priced.starts_with("add --into") && priced.contains("unit prices"), "{priced}");
        let note = choices(&note(), Some(&groups));
        assert!(note.starts_with("add --into") && note.contains("a performance note"), "{note}");
        assert!(!note.contains('\n'));
    }

    #[test]
    fn the_group_that_is_meant_for_a_kind_is_its_default() {
        let other = AudienceView { space: "cd".repeat(32), ..boroughs() };
        let kinds = vec!["performance".to_owned()];
        let meant = AudienceView { space: "ef".repeat(32), kinds, ..boroughs() };
        let group = |groups: &[AudienceView]| note().group(groups).map(|one| one.space.clone());
        assert_eq!(group(&[]), None);
        assert_eq!(
            group(std::slice::from_ref(&other)),
            Some(other.space.clone()),
            "the only one there is"
        );
        assert_eq!(group(&[other.clone(), boroughs()]), None, "none of them is meant");
        assert_eq!(group(&[other.clone(), meant.clone()]), Some(meant.space.clone()));
        assert_eq!(group(&[other.clone(), meant.clone(), meant.clone()]), None, "two are");
        let groups = [other, meant.clone()];
        assert_eq!(note().sorted(&groups)[0].space, meant.space, "what is meant comes first");
    }

    #[test]
    fn audiences_are_named_with_everybody_in_them_and_who_of_them_sells() {
        assert_eq!(who(&AudienceView::public()), "anyone, suppliers included");
        assert_eq!(who(&boroughs()), "Seven boroughs with 2 members: Ash, Oak[2J");
        let authority = AuthorityId::from_bytes([2; 32]);
        let with = |contracts, centre| {
            let sellers = vec![Seller { member: 1, authority, contracts, centre }];
            who(&AudienceView { sellers, ..boroughs() })
        };
        assert_eq!(
            with(3, false),
            "Seven boroughs with 2 members, 1 of whom may also sell: Ash, Oak[2J (also sells to \
             the public sector: 3 contracts seen)"
        );
        assert!(
            with(0, true).ends_with("Oak[2J (a buying organisation, which may sell to others)")
        );
        assert!(with(1, true).contains("and a supplier: 1 contract seen"));
    }
}
