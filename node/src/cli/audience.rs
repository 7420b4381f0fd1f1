//! Who may see what is shared: named by the user, never assumed.

use super::Global;
use super::client::Client;
use super::output::write_note;
use super::wording::{clean, several};
use crate::failure::Failure;
use crate::service::answer::{Audience, AudienceView, Audiences};

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

impl AudienceOptions {
    /// The audience that was named.
    ///
    /// # Errors
    /// A [`Failure`] that lists the choices, and who is in them as far as a
    /// running node says, if there is none.
    pub fn named(&self, global: &Global) -> Result<Audience, Failure> {
        match &self.into {
            Some(group) => Ok(Audience::Group(group.clone())),
            None if self.public => Ok(Audience::Public),
            None => {
                // Without a node it is not known which groups there are.
                let groups = global.client().and_then(|client| client.get("groups/audiences", &[]));
                Err(Failure::usage(
                    "nothing is shared until you say who may see it",
                    choices(groups.ok().as_ref()),
                ))
            }
        }
    }
}

fn choices(groups: Option<&Audiences>) -> String {
    let groups = match groups.map(|all| all.audiences.as_slice()) {
        None => "its members only".to_owned(),
        Some([]) => "its members only; this node is in no group".to_owned(),
        Some(all) => {
            let listed: Vec<_> = all.iter().take(LISTED).map(called).collect();
            let more = if all.len() > LISTED { ", …" } else { "" };
            format!("its members only: {}{more}", listed.join(", "))
        }
    };
    format!(
        "add --public (anyone: every node of the network and whoever they pass it on to) \
         or --into GROUP ({groups})"
    )
}

fn called(group: &AudienceView) -> String {
    let name = group.name.as_deref().unwrap_or(&group.space);
    let members = several(group.members.unwrap_or(0) as u64, "member");
    format!("{} with {members}", clean(name))
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

/// An audience in words: its name, how many are in it, and who.
pub(super) fn who(audience: &AudienceView) -> String {
    match audience.members {
        None => "anyone".to_owned(),
        Some(_) => {
            let names = audience.authorities.iter().map(|name| clean(name)).collect::<Vec<_>>();
            format!("{}: {}", called(audience), names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boroughs() -> AudienceView {
        AudienceView {
            space: "ab".repeat(32),
            name: Some("Seven boroughs".to_owned()),
            members: Some(2),
            authorities: vec!["Ash".to_owned(), "Oak\u{1b}[2J".to_owned()],
        }
    }

    #[test]
    fn nothing_is_shared_without_an_audience_and_the_choices_are_named() {
        let global = Global { data: Some("/nonexistent".into()), ..Global::default() };
        let failure = AudienceOptions::default().named(&global).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert!(failure.remedy.contains("--public (anyone"), "{failure}");
        let groups = Audiences { audiences: vec![boroughs()] };
        assert!(choices(Some(&groups)).contains("Seven boroughs with 2 members"));
        assert!(choices(Some(&Audiences::default())).contains("in no group"));
    }

    #[test]
    fn audiences_are_named_with_everybody_in_them() {
        assert_eq!(who(&AudienceView::public()), "anyone");
        assert_eq!(who(&boroughs()), "Seven boroughs with 2 members: Ash, Oak[2J");
    }
}
