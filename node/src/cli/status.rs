//! `tally status`: what is connected, behind, disputed or refused.

use std::collections::BTreeMap;

use serde_json::json;
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::wording::{clean, count, cut, named, pairs, related, several, short_named, table, time};
use crate::failure::Failure;
use crate::service::answer;

/// Show how the node is: logs, partners, and what was refused
#[derive(Clone, Debug, clap::Args)]
pub struct Status {}

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if no node is running.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let status: answer::Status = global.client()?.get("status", &[])?;
        Ok(Answer::done(text(&status), json!(status)))
    }
}

fn text(status: &answer::Status) -> String {
    let connected = status.peers.iter().filter(|peer| peer.greeted).count();
    let mut text = format!("{} is running.\n\n", clean(&status.name));
    let entries: u64 = status.logs.iter().map(|log| log.size).sum();
    let partners = format!("{}, {connected} connected", several(status.partners as u64, "partner"));
    let lag = match status.index_lag {
        0 => String::new(),
        lag => format!(", {} to follow", several(lag, "entry").replace("entrys", "entries")),
    };
    text.push_str(&pairs([
        ("authority", status.authority.to_string()),
        ("network", status.network.clone()),
        ("listens on", status.listen.join(" ")),
        ("partners", partners),
        ("entries", format!("{} in {}", count(entries), several(status.logs.len() as u64, "log"))),
        ("searchable", format!("{} records and references{lag}", count(status.searchable))),
    ]));
    if status.requests > 0 {
        let number = several(status.requests as u64, "node");
        text.push_str(&format!("\n{number} would like to be a partner: `tally partner list`\n"));
    }
    if let Some(obstacle) = &status.obstacle {
        text.push_str(&format!("\nNothing can be signed now: {obstacle}.\n"));
    }
    if let Some(warning) = &status.warning {
        text.push_str(&format!("\nLook at this: {warning}.\n"));
    }
    if let Some(failure) = &status.index_failure {
        text.push_str(&format!(
            "\nThe search index is not kept up to date: {}.\nStart the node again.\n",
            clean(failure)
        ));
    }
    for fault in &status.epoch_faults {
        text.push_str(&format!(
            "\nA secret of {} by {} does not open here: {}. Ask them, and use `tally group rotate`.\n",
            clean(&fault.group),
            fault.authority,
            fault.why
        ));
    }
    if status.held_back > 0 {
        let versions = several(status.held_back, "version");
        text.push_str(&format!(
            "\nHeld back: {versions} of records in groups, which this node has no key to read.\n"
        ));
    }
    let rows: Vec<_> = status.logs.iter().map(row).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["Log of", "Audience", "Entries", "Signed", "State"], &rows));
    }
    if status.logs.iter().any(|log| log.state == answer::LogState::Disputed) {
        text.push_str(
            "\nOf a disputed log two histories were signed, and it is followed no further:\n\
             `tally evidence` shows what is known of it.\n",
        );
    }
    let succeeded = succeeded(status);
    if !succeeded.is_empty() {
        text.push_str("\nSucceeded\n");
        text.push_str(&pairs(succeeded.iter().map(|(who, by)| (who.as_str(), by.clone()))));
    }
    let aside: Vec<_> = status.logs.iter().filter_map(aside).collect();
    if !aside.is_empty() {
        text.push_str("\nSet aside\n");
        text.push_str(&pairs(aside.iter().map(|(log, what)| (log.as_str(), what.clone()))));
    }
    if !status.outside_witnesses.is_empty() {
        text.push_str("\nOutside witnesses\n");
        let lines: Vec<_> = status.outside_witnesses.iter().map(outside).collect();
        text.push_str(&pairs(lines.iter().map(|(who, what)| (who.as_str(), what.clone()))));
    }
    if !status.refused.is_empty() {
        text.push_str("\nNodes that misbehaved\n");
        let lines: Vec<_> = status.refused.iter().map(misbehaved).collect();
        text.push_str(&pairs(lines.iter().map(|(who, what)| (who.as_str(), what.clone()))));
    }
    if !status.refusals.is_empty() {
        text.push_str("\nRefused since the start\n");
        let labels = status.refusals.iter().map(|(label, number)| (label.as_str(), count(*number)));
        text.push_str(&pairs(labels));
    }
    text
}

/// Who misbehaved; how, and what follows.
fn misbehaved(refused: &answer::RefusedView) -> (String, String) {
    let nameless = match refused.authority {
        Some(authority) => authority.short(),
        None => format!("node {}", cut(&refused.node.to_string(), 12)),
    };
    let who = named(refused.name.as_deref(), refused.known.as_ref(), &nameless);
    let consequence = match refused.until {
        Some(until) => format!("refused until {}", time(UnixTime::from_seconds(until))),
        None => format!("{} of 100 points, which fade", refused.score),
    };
    let faults = several(refused.faults, "fault");
    (who, format!("{}; {faults}, {consequence}", clean(&refused.explanation)))
}

/// What an outside witness has cosigned, and why not more.
fn outside(witness: &answer::OutsideWitnessView) -> (String, String) {
    let entries = match witness.cosigned {
        Some(1) => "cosigned a head of 1 entry".to_owned(),
        Some(size) => format!("cosigned a head of {} entries", count(size)),
        None => "has cosigned nothing since the start".to_owned(),
    };
    let what = match &witness.failure {
        Some(failure) => format!("{entries}; asked last: {}", clean(failure)),
        None => entries,
    };
    (cut(&clean(&witness.url), 40), what)
}

/// What was set aside of a log, if anything was.
fn aside(log: &answer::LogView) -> Option<(String, String)> {
    let disowned: u64 = log.branches.iter().map(|branch| branch.disowned).sum();
    let entries = if disowned == 1 { "entry" } else { "entries" };
    let what = format!("{} {entries} disowned by its controllers, kept aside", count(disowned));
    (disowned > 0).then(|| (name(log), what))
}

/// The authorities with logs here from which others have taken over.
fn succeeded(status: &answer::Status) -> Vec<(String, String)> {
    let known = status.logs.iter().filter_map(|log| log.known.as_ref().map(|known| (log, known)));
    let ended = known.filter(|(_, known)| !known.succeeded_by.is_empty());
    let ended = ended.map(|(log, known)| {
        let name = short_named(log.name.as_deref(), Some(known), &log.authority.short());
        (log.authority, (name, format!("by {}", related(&known.succeeded_by))))
    });
    let once: BTreeMap<_, _> = ended.collect();
    once.into_values().collect()
}

fn name(log: &answer::LogView) -> String {
    let name = short_named(log.name.as_deref(), log.known.as_ref(), &log.authority.short());
    match log.generation {
        0 => name,
        generation => format!("{name} ({generation})"),
    }
}

fn row(log: &answer::LogView) -> Vec<String> {
    let mut state = match log.behind {
        Some(size) => format!("{}, {} exist", log.state.word(), count(size)),
        None => log.state.word().to_owned(),
    };
    let answer::Witnessed { cosigned, witnesses, .. } = log.witnessed;
    if witnesses > 0 {
        state = format!("{state}, {cosigned} of {witnesses} cosigned");
    }
    vec![
        name(log),
        log.group.as_deref().map_or_else(|| log.space.clone(), |name| cut(&clean(name), 24)),
        count(log.size),
        count(log.signed),
        state,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::confirmation::Confirmation;
    use tallystick_protocol::id::{AuthorityId, NodeId};

    fn outside_witnesses() -> Vec<answer::OutsideWitnessView> {
        let view = |name: &str, cosigned, failure: Option<&str>| answer::OutsideWitnessView {
            name: name.to_owned(),
            url: format!("https://{name}"),
            cosigned,
            failure: failure.map(str::to_owned),
        };
        let untrusted = "the witness has no valid certificate for its name";
        vec![view("witness.example", Some(1200), None), view("late.example", None, Some(untrusted))]
    }

    #[test]
    fn a_status_reads_as_a_page() {
        let log = |n: u8, state, behind| answer::LogView {
            authority: AuthorityId::from_bytes([n; 32]),
            name: (n < 3).then(|| format!("Borough {n}")),
            known: (n < 3).then(|| Confirmation::Pinned.into()),
            space: "public".to_owned(),
            group: None,
            generation: 0,
            size: 1200,
            root: None,
            state,
            signed: 1200,
            behind,
            witnessed: answer::Witnessed {
                cosigned: usize::from(n) + 1,
                witnesses: if n == 1 { 3 } else { 0 },
                quorum: 2,
            },
            branches: Vec::new(),
        };
        let branch = |number, disowned| answer::BranchView { number, size: 1300, disowned };
        let closed = answer::LogView {
            branches: vec![branch(0, 100), branch(4, 12)],
            ..log(2, answer::LogState::Closed, None)
        };
        let status = answer::Status {
            authority: AuthorityId::from_bytes([1; 32]),
            name: "Borough 1".to_owned(),
            network: "tallystick".to_owned(),
            listen: vec!["/ip4/192.0.2.7/tcp/4817".to_owned()],
            logs: vec![
                log(1, answer::LogState::Current, None),
                answer::LogView { generation: 1, ..log(2, answer::LogState::Behind, Some(1500)) },
                log(3, answer::LogState::Disputed, None),
                closed,
            ],
            peers: vec![answer::PeerView {
                node: NodeId::from_bytes([2; 32]),
                authority: Some(AuthorityId::from_bytes([2; 32])),
                name: Some("Borough 2".to_owned()),
                known: Some(Confirmation::Pinned.into()),
                greeted: true,
                heard: true,
                sent: 1_200,
                received: 34_000,
            }],
            outside_witnesses: outside_witnesses(),
            refused: vec![
                answer::RefusedView {
                    node: NodeId::from_bytes([4; 32]),
                    authority: Some(AuthorityId::from_bytes([4; 32])),
                    name: Some("Borough 4".to_owned()),
                    known: Some(Confirmation::Endorsed { by: 2 }.into()),
                    score: 120,
                    faults: 3,
                    reason: "bad-entries".to_owned(),
                    explanation: "entries or bodies were not those that were signed".to_owned(),
                    until: Some(1_774_965_900),
                },
                answer::RefusedView {
                    node: NodeId::from_bytes([5; 32]),
                    authority: None,
                    name: None,
                    known: None,
                    score: 25,
                    faults: 1,
                    reason: "too-slow".to_owned(),
                    explanation: "a node asked for much and did not read it".to_owned(),
                    until: None,
                },
            ],
            partners: 2,
            requests: 1,
            refusals: [("fork".to_owned(), 1)].into(),
            searchable: 3400,
            index_lag: 12,
            held_back: 1,
            epoch_faults: Vec::new(),
            obstacle: None,
            warning: None,
            index_failure: None,
        };
        insta::assert_snapshot!(text(&status));
    }
}
