//! `tally group`: private sharing groups, and who is in them.
//!
//! **Invariant:** nobody joins a group without having been shown its terms and
//! having said yes to them.

use std::fs;
use std::io::{self, Read as _};

use serde_json::json;
use tallystick_protocol::limits;
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::question::confirm;
use super::wording::{clean, named, pairs, several, table, time};
use crate::failure::Failure;
use crate::service::answer::{
    Accept, Belonging, ChangeMember, ContinueGroup, CreateGroup, GroupChange, GroupMembers, Groups,
    HistoryName, InvitationView, Invite, Invited, MAJORITY, NOBODY, NameGroup, RoleName,
};
use crate::service::last_moment;

/// Days for which an invitation can be used.
const EXPIRES_DAYS: u16 = 14;

/// Create, join, list or manage private sharing groups
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Group {
    /// Create a group of which this authority is the convenor
    Create {
        /// What people call it.
        #[arg(value_name = "NAME")]
        name: String,
        /// What newcomers may read: all, or only what is shared after they joined.
        #[arg(long, value_name = "WHAT", default_value = "all")]
        history: HistoryName,
        /// A text file with what members agree to.
        #[arg(long, value_name = "FILE")]
        terms: Option<String>,
        /// Fewest authorities that a statistic over its data must be drawn from.
        #[arg(long, value_name = "N", default_value_t = 3)]
        min_n: u32,
        /// Who may lead once all convenors are lost: majority (whom most writing members
        /// name), nobody, or a deputy's id or exact name.
        #[arg(long, value_name = "WHO", default_value = MAJORITY)]
        continuation: String,
        /// Kinds of record for which it is offered as audience: performance,pipeline.
        #[arg(long, value_name = "KINDS", value_delimiter = ',')]
        kinds: Vec<String>,
    },
    /// List the groups of this node
    List,
    /// Say who is in a group, as what and since when
    Members {
        /// Its id or the beginning of it, or its exact name.
        #[arg(value_name = "GROUP")]
        group: String,
    },
    /// Make an invitation, to be handed to whoever is to join
    Invite(InviteOptions),
    /// Join a group: shows its terms and asks
    Join {
        /// The invitation, the file it is in, or - for standard input.
        #[arg(value_name = "INVITATION|FILE")]
        invitation: String,
    },
    /// Give a member another role
    Role {
        /// Its id or the beginning of it, or its exact name.
        #[arg(value_name = "GROUP")]
        group: String,
        /// The member's id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
        /// What it may do: observe, read and write, or manage.
        #[arg(value_name = "ROLE")]
        role: RoleName,
        /// Last day for an observer to read, as 2026-03-31, or the time it ends, as 2026-03-31T17:00:00Z.
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
    },
    /// Remove a member: it reads nothing that is shared from then on
    Remove {
        /// Its id or the beginning of it, or its exact name.
        #[arg(value_name = "GROUP")]
        group: String,
        /// The member's id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
    },
    /// Share under a new secret from now on, as after a theft of a member's keys
    Rotate {
        /// Its id or the beginning of it, or its exact name.
        #[arg(value_name = "GROUP")]
        group: String,
    },
    /// Name a member to lead a group whose convenors are lost, as its rule allows
    Continue {
        /// Its id or the beginning of it, or its exact name.
        #[arg(value_name = "GROUP")]
        group: String,
        /// The member's id or the beginning of it, or its exact name.
        #[arg(value_name = "AUTHORITY")]
        authority: String,
    },
    /// Leave a group; what was received stays
    Leave {
        /// Its id or the beginning of it, or its exact name.
        #[arg(value_name = "GROUP")]
        group: String,
    },
}

/// Whom to invite into what.
#[derive(Clone, Debug, clap::Args)]
pub struct InviteOptions {
    /// Its id or the beginning of it, or its exact name.
    #[arg(value_name = "GROUP")]
    group: String,
    /// Who alone may use it: an authority id, the beginning of it, or an exact name.
    #[arg(long, value_name = "ID")]
    authority: Option<String>,
    /// What the newcomer may do: observe, read and write, or manage.
    #[arg(long, value_name = "ROLE", default_value = "member")]
    role: RoleName,
    /// For how many days it can be used.
    #[arg(long, value_name = "N", default_value_t = EXPIRES_DAYS,
          value_parser = clap::value_parser!(u16).range(1..=365))]
    expires_days: u16,
    /// Last day for an observer to read, as 2026-03-31, or the time it ends, as 2026-03-31T17:00:00Z.
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
}

impl Group {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]: no such group or member, not allowed, or not confirmed.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        match self {
            Self::Create { name, history, terms, min_n, kinds, continuation } => {
                let terms = terms.as_deref().map(read_terms).transpose()?.unwrap_or_default();
                let (name, history, least) = (name.clone(), *history, *min_n);
                let (kinds, continuation) = (kinds.clone(), continuation.clone());
                let create = CreateGroup { name, history, terms, least, kinds, continuation };
                let created: GroupChange = global.client()?.post("groups", &create)?;
                let text = format!("created {} ({})\n", clean(&created.name), created.group);
                Ok(Answer::done(text, json!(created)))
            }
            Self::List => {
                let groups: Groups = global.client()?.get("groups", &[])?;
                Ok(Answer::done(list(&groups), json!(groups)))
            }
            Self::Members { group } => {
                let asked = [("group", group.clone())];
                let members: GroupMembers = global.client()?.get("groups/members", &asked)?;
                Ok(Answer::done(members_text(&members), json!(members)))
            }
            Self::Invite(options) => options.run(global),
            Self::Join { invitation } => join(global, invitation),
            Self::Role { group, authority, role, until } => {
                let (group, authority) = (group.clone(), authority.clone());
                let (role, until) = (Some(*role), until_when(until.as_deref())?);
                let change = ChangeMember { group, authority, role, until };
                Ok(told(&global.client()?.post("groups/members", &change)?, "gave a role to"))
            }
            Self::Remove { group, authority } => {
                let client = global.client()?;
                confirm(
                    global,
                    &format!(
                        "{} will read nothing that is shared with {} from now on. It keeps what it could read until now.",
                        clean(authority),
                        clean(group)
                    ),
                )?;
                let (group, authority) = (group.clone(), authority.clone());
                let change = ChangeMember { group, authority, role: None, until: None };
                Ok(told(&client.post("groups/members", &change)?, "removed"))
            }
            Self::Continue { group, authority } => {
                let (group, authority) = (group.clone(), authority.clone());
                let vote = ContinueGroup { group, authority };
                let told: GroupChange = global.client()?.post("groups/continue", &vote)?;
                Ok(voted(&told))
            }
            Self::Rotate { group } => {
                let group = NameGroup { group: group.clone() };
                Ok(told(&global.client()?.post("groups/rotate", &group)?, "new secret for"))
            }
            Self::Leave { group } => {
                let client = global.client()?;
                confirm(
                    global,
                    &format!(
                        "This authority will read nothing that is shared with {} from now on, and comes back only by a new invitation.",
                        clean(group)
                    ),
                )?;
                Ok(told(&client.post("groups/leave", &NameGroup { group: group.clone() })?, "left"))
            }
        }
    }
}

impl InviteOptions {
    fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let invite = Invite {
            group: self.group.clone(),
            authority: self.authority.clone(),
            role: self.role,
            expires_days: self.expires_days,
            until: until_when(self.until.as_deref())?,
        };
        let invited: Invited = global.client()?.post("groups/invite", &invite)?;
        let json = json!({
            "invitation": invited.invitation,
            "group": invited.group,
            "name": invited.name,
            "role": invited.role,
            "authority": invited.authority,
            "expires": invited.expires,
        });
        Ok(Answer::done(invited.armoured, json))
    }
}

fn join(global: &Global, given: &str) -> Result<Answer, Failure> {
    let invitation = read_invitation(given)?;
    let client = global.client()?;
    let accept = Accept { invitation };
    let shown: InvitationView = client.post("groups/invitation", &accept)?;
    confirm(global, &terms_text(&shown))?;
    let joined: InvitationView = client.post("groups/join", &accept)?;
    let text = format!(
        "joined {}\n  members let this authority in when they hear of it; `tally group list` shows it\n",
        clean(&joined.name)
    );
    Ok(Answer::done(text, json!(joined)))
}

/// The invitation itself, or what is in the file.
fn read_invitation(given: &str) -> Result<String, Failure> {
    if given.contains("tallystick-invitation:") || given.contains("TALLYSTICK INVITATION") {
        return Ok(given.to_owned());
    }
    read(
        given,
        limits::INVITATION_TEXT_BYTES,
        "ask for the output of `tally group invite`, as a file",
    )
}

fn read_terms(file: &str) -> Result<String, Failure> {
    let text = read(file, limits::GROUP_TERMS_BYTES, "write the terms as plain text")?;
    Ok(text.trim().to_owned())
}

fn read(file: &str, most: usize, remedy: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let most = most as u64;
    let read = match file {
        "-" => io::stdin().lock().take(most + 1).read_to_string(&mut text),
        path => fs::File::open(path).and_then(|file| file.take(most + 1).read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::usage(format!("{file} cannot be read ({error})"), remedy))?;
    if text.len() as u64 > most {
        return Err(Failure::usage(format!("{file} is too large"), remedy));
    }
    Ok(text)
}

/// The first second in which an observer reads no more.
fn until_when(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let until = text.map(last_moment).transpose()?;
    Ok(until.map(UnixTime::as_seconds))
}

fn voted(change: &GroupChange) -> Answer {
    let name = match (&change.authority_name, &change.authority) {
        (Some(name), _) => clean(name),
        (None, id) => id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let group = clean(&change.name);
    let text = match change.leads {
        Some(true) => format!("{name} is a convenor of {group} now\n"),
        _ => format!(
            "noted that {name} is to lead {group}\n  it does once more than half of the writing members say so, each with `tally group continue`\n"
        ),
    };
    Answer::done(text, json!(change))
}

fn told(change: &GroupChange, what: &str) -> Answer {
    let group = clean(&change.name);
    let text = match (&change.authority_name, &change.authority) {
        (None, None) => format!("{what} {group}\n"),
        (Some(name), _) => format!("{what} {} in {group}\n", clean(name)),
        (None, Some(id)) => format!("{what} {id} in {group}\n"),
    };
    Answer::done(text, json!(change))
}

fn list(groups: &Groups) -> String {
    if groups.groups.is_empty() {
        return "This node is in no group. `tally group create NAME` makes one.\n".to_owned();
    }
    let rows: Vec<_> = groups
        .groups
        .iter()
        .map(|group| {
            let state = match (group.state, group.role) {
                (_, Some(role)) => role.word(),
                (Belonging::Joining, None) => "joining",
                _ => "left",
            };
            let members = several(group.members as u64, "member");
            // Enough to name it by; `--json` has all of it.
            let id = group.group.to_string().chars().take(12).collect();
            vec![clean(&group.name), state.to_owned(), members, id]
        })
        .collect();
    table(&["Group", "As", "Members", "Id"], &rows)
}

fn members_text(group: &GroupMembers) -> String {
    let at = |seconds| time(UnixTime::from_seconds(seconds));
    let rows: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            let until = member.until.map(|end| format!(", until {}", at(end)));
            vec![
                named(member.name.as_deref(), member.known.as_ref(), &member.authority.to_string()),
                format!("{}{}", member.role.word(), until.unwrap_or_default()),
                member.since.map(at).unwrap_or_default(),
                member.terms.to_string().chars().take(12).collect(),
            ]
        })
        .collect();
    let heading = format!("{}, {}", clean(&group.name), several(rows.len() as u64, "member"));
    let rows = table(&["Member", "As", "Since", "Terms signed"], &rows);
    let kinds = match group.kinds.as_slice() {
        [] => String::new(),
        kinds => format!("\noffered as audience for: {}\n", clean(&kinds.join(", "))),
    };
    let invitations = match group.open_invitations {
        0 => String::new(),
        open => format!("\n{} can still be used\n", several(open as u64, "invitation")),
    };
    let rule = format!("\nwithout convenors: {}\n", continued(&group.continuation));
    format!("{heading}\n{rows}{rule}{kinds}{invitations}")
}

/// Who may lead a group once its convenors are lost.
fn continued(rule: &str) -> String {
    match rule {
        MAJORITY => "led by whom more than half of the writing members name".to_owned(),
        NOBODY => "nobody may lead it".to_owned(),
        deputy => format!("led by the deputy, {}", clean(deputy)),
    }
}

/// What somebody who is about to join has to know.
fn terms_text(shown: &InvitationView) -> String {
    let at = |seconds| time(UnixTime::from_seconds(seconds));
    let host =
        named(shown.authority_name.as_deref(), shown.known.as_ref(), &shown.authority.to_string());
    let history = match shown.history {
        HistoryName::All => "everything that was ever shared",
        HistoryName::FromJoin => "what is shared after joining",
    };
    let until = shown.until.map(|end| format!(", until {}", at(end))).unwrap_or_default();
    let facts = pairs([
        ("group", clean(&shown.name)),
        ("invited by", host),
        ("as", format!("{}{until}", shown.role.word())),
        ("newcomers read", history.to_owned()),
        ("statistics", format!("from {} or more authorities", shown.least)),
        ("without convenors", continued(&shown.continuation)),
        ("until", at(shown.expires)),
    ]);
    let terms = shown.terms.lines().map(clean).collect::<Vec<_>>().join("\n");
    let terms = if terms.is_empty() { "(none)".to_owned() } else { terms };
    format!("{facts}\nTerms\n{terms}\n\nJoining signs these terms.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invitations_are_told_from_files() {
        let line = "tallystick-invitation:AAAA";
        assert_eq!(read_invitation(line).unwrap(), line);
        assert_eq!(read_invitation("/nonexistent").unwrap_err().kind.exit_code(), 2);
    }
}
