//! Nodes that are not what they were: one goes on from an older copy of its
//! files, one runs twice. Neither may sign a second history (invariant 2).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::arena::address;
use crate::federation::{Federation, MEMBERS};
use crate::{ALL, PATIENCE};

/// How long a second copy may take to find out that it is one.
const DISCOVERY: Duration = Duration::from_secs(60);

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success(), "{} was not copied", from.display());
}

/// A member is put back to an older copy of its data directory, and asked to
/// publish before it can have heard of what came later.
pub fn restored(federation: &Federation) {
    let since = Instant::now();
    let member = &federation.members[3];
    let (data, backup) = (member.data(), member.dir().join("backup"));
    federation.converge(&ALL, PATIENCE, "the beginning of the restore");
    member.kill();
    copy(&data, &backup);
    member.start().unwrap();
    federation.publish(&[3], "after the backup");
    member.import(&federation.titles("row after the backup", 300)).unwrap();
    federation.converge(&ALL, PATIENCE, "publishing after the backup");

    member.kill();
    std::fs::rename(&data, member.dir().join("lost")).unwrap();
    copy(&backup, &data);
    // Nobody answers for a moment.
    let silent = ["iifname eth0 drop".to_owned()];
    federation.arena.firewall(3, &silent, &[]);
    member.start().unwrap();
    let early = std::thread::scope(|scope| {
        let early = scope.spawn(|| member.publish(&federation.titles("restored, and early", 1)[0]));
        std::thread::sleep(Duration::from_millis(1_500));
        federation.arena.heal();
        early.join().unwrap()
    });
    let started = Instant::now();
    while let Err(refusal) = member.publish(&federation.titles("restored", 1)[0]) {
        assert!(refusal.contains("later entries"), "{refusal}");
        assert!(started.elapsed() < PATIENCE, "never signs again: {refusal}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = federation.converge(&ALL, PATIENCE, "a member was restored");
    eprintln!("faults: published at once after the restore: {early:?}");
    federation.report(&format!("restored from an older copy (agreed after {took:.1?})"), since);
}

/// Makes the replica in a data directory one that does not open.
pub fn damage(data: &Path) {
    let nonsense = "nonsense, and no description of a database";
    std::fs::write(data.join("replica/conf"), nonsense).unwrap();
}

/// The replica of a member is damaged beyond opening: it is put aside, what the
/// member said itself comes from its journal, and the rest from its partners.
pub fn replica_lost(federation: &Federation) {
    let since = Instant::now();
    let member = &federation.members[1];
    federation.converge(&ALL, PATIENCE, "the beginning of the loss");
    member.kill();
    damage(&member.data());
    member.start().unwrap();
    assert!(member.data().join("replica.damaged-1").exists(), "nothing was put aside");
    federation.publish(&[1], "after the replica was lost");
    let took = federation.converge(&ALL, PATIENCE, "a replica was lost");
    federation.report(&format!("a replica made anew (agreed after {took:.1?})"), since);
}

/// Two copies of one member run at once: the later one finds out, refuses to
/// sign and says why; the earlier one goes on.
pub fn doubled(federation: &Federation) {
    let since = Instant::now();
    let member = &federation.members[4];
    federation.converge(&ALL, PATIENCE, "the beginning of the doubling");
    member.kill();
    let dir = member.dir().with_file_name("twin");
    std::fs::create_dir(&dir).unwrap();
    // Both are equal, so that nothing but the other copy can stop the second.
    copy(&member.data(), &dir.join("data"));
    member.start().unwrap();
    federation.converge(&ALL, PATIENCE, "the first copy started");
    // Which is the later one is told by seconds.
    std::thread::sleep(Duration::from_millis(1_500));
    let listen = format!("/ip4/{}/tcp/4817", address(MEMBERS));
    let twin = member.twin(MEMBERS, &dir, &["--listen", &listen]);
    twin.start().unwrap();
    let early = std::thread::scope(|scope| {
        let early = scope.spawn(|| twin.publish(&federation.titles("by the second copy", 1)[0]));
        federation.publish(&[4], "by the first copy, at once");
        early.join().unwrap()
    });
    let started = Instant::now();
    let obstacle = loop {
        let status = twin.status().unwrap();
        if let Some(obstacle) = status["obstacle"].as_str()
            && obstacle.contains("another copy")
        {
            break obstacle.to_owned();
        }
        assert!(started.elapsed() < DISCOVERY, "the copy does not find out: {status}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let found = started.elapsed();
    let refusal = twin.publish(&federation.titles("by the second copy, late", 1)[0]).unwrap_err();
    assert!(refusal.contains("another copy"), "{refusal}");
    federation.publish(&[4], "by the first copy, still");
    twin.kill();
    let took = federation.converge(&ALL, PATIENCE, "one ran twice");
    assert!(twin.acknowledged.lock().unwrap().is_empty(), "acknowledged, and lost: {early:?}");
    eprintln!("faults: the second copy, asked at once: {early:?}; found out: {obstacle}");
    federation
        .report(&format!("doubled (known after {found:.1?}, agreed after {took:.1?})"), since);
}
