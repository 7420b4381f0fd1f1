//! Real nodes, real disks and libp2p on loopback: live gossip and catch-up.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::time::{Duration, Instant};

use fixture::{Council, Node, entry};
use tallystick_node::store::audit::{audit, audit_branch};
use tallystick_node::store::{OpenReport, Replica, Store, StoreOptions};
use tallystick_protocol::id::LogId;

const PATIENCE: Duration = Duration::from_secs(30);

async fn author(node: &Node, from: u64, count: u64) {
    for start in (from..from + count).step_by(1000) {
        let entries = (start..(start + 1000).min(from + count)).map(entry).collect();
        node.handle.author(entries).await.unwrap();
    }
}

async fn connected(nodes: &[&Node], each: usize) {
    for node in nodes {
        for _ in 0..1000 {
            let status = node.handle.status().await.unwrap();
            if status.peers.iter().filter(|peer| peer.greeted).count() >= each {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(node.handle.status().await.unwrap().peers.len() >= each);
    }
}

fn same_entries(a: &Node, b: &Node, council: &Council, size: u64) {
    let log = council.log();
    for start in (0..size).step_by(500) {
        let range = start..(start + 500).min(size);
        let ours = a.replica().entries(&log, range.clone(), usize::MAX).unwrap();
        assert_eq!(ours, b.replica().entries(&log, range, usize::MAX).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_catches_up_then_hears_live() {
    let (a, b) = (Council::new(1), Council::new(2));
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node_a = a.start(dir_a.path(), vec![b.partner(vec![])]).await;
    author(&node_a, 0, 3000).await;
    let node_b = b.start(dir_b.path(), vec![a.partner(vec![node_a.address.clone()])]).await;
    node_b.wait_for(&a.log(), 3000, PATIENCE).await;
    same_entries(&node_a, &node_b, &a, 3000);
    connected(&[&node_a, &node_b], 1).await;
    author(&node_a, 3000, 1).await;
    node_b.wait_for(&a.log(), 3001, PATIENCE).await;
    author(&node_b, 9000, 5).await;
    node_a.wait_for(&b.log(), 5, PATIENCE).await;
    assert!(node_a.handle.status().await.unwrap().refusals.is_empty());
    node_a.stop().await;
    node_b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_only_dial_out_reach_each_other_through_one_that_listens() {
    let councils: Vec<_> = (1..=4).map(Council::new).collect();
    let dirs: Vec<_> = councils.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let others = councils[1..].iter().map(|council| council.partner(vec![])).collect();
    let hub = councils[0].start(dirs[0].path(), others).await;
    let mut nodes = Vec::new();
    for (council, dir) in councils.iter().zip(&dirs).skip(1) {
        let to_hub = vec![councils[0].partner(vec![hub.address.clone()])];
        nodes.push(council.start(dir.path(), to_hub).await);
    }
    for node in &nodes {
        author(node, 0, 40).await;
    }
    for council in &councils[1..] {
        for node in nodes.iter().chain([&hub]) {
            node.wait_for(&council.log(), 40, PATIENCE).await;
        }
        same_entries(&hub, &nodes[0], council, 40);
    }
    for node in nodes {
        node.stop().await;
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_no_partner_gets_nothing_but_may_hand_in_its_card() {
    let (a, b) = (Council::new(1), Council::new(2));
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node_a = a.start(dir_a.path(), vec![]).await;
    author(&node_a, 0, 10).await;
    let store = Store::open(dir_b.path(), &StoreOptions::default(), b.authority()).unwrap();
    let mut config = b.config(vec![a.partner(vec![node_a.address.clone()])]);
    config.card = "a made-up card".into();
    let (handle, task) = tallystick_node::driver::start(config, store).await.unwrap();
    for _ in 0..500 {
        if !node_a.handle.requests().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let requests = node_a.handle.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].node, requests[0].card.as_str()), (b.node(), "a made-up card"));
    let logs = handle.status().await.unwrap().logs;
    assert!(logs.iter().all(|log| log.log != a.log()), "a stranger was served");
    // Accepted, it is served without dialling again.
    node_a.handle.allow(b.node(), vec![]).await;
    for _ in 0..1500 {
        if handle
            .status()
            .await
            .unwrap()
            .logs
            .iter()
            .any(|log| log.log == a.log() && log.signed == 10)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(handle.status().await.unwrap().logs.iter().any(|log| log.log == a.log()));
    handle.shutdown().await;
    task.await.unwrap().unwrap();
    node_a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_5_what_was_acknowledged_is_there_after_a_restart() {
    let a = Council::new(1);
    let dir = tempfile::tempdir().unwrap();
    let node = a.start(dir.path(), vec![]).await;
    author(&node, 0, 1500).await;
    let head = node.handle.head(a.log()).await.unwrap();
    node.stop().await;
    let node = a.start(dir.path(), vec![]).await;
    assert_eq!(node.handle.head(a.log()).await.unwrap().to_bytes(), head.to_bytes());
    author(&node, 1500, 1).await;
    assert_eq!(node.size(&a.log()).await, 1501);
    node.stop().await;
}

/// Entries of a log, and of what was set aside of it.
fn held(replica: &dyn Replica, log: &LogId) -> (u64, Vec<u64>) {
    let logs = replica.logs().unwrap();
    let size = logs.iter().find(|held| held.log == *log).map_or(0, |held| held.frontier.size());
    audit(replica, log).unwrap();
    let branches = replica.branches().unwrap();
    let branches = branches.iter().filter(|branch| branch.log == *log);
    (size, branches.map(|branch| audit_branch(replica, branch).unwrap().entries).collect())
}

async fn wait_until_held(node: &Node, log: &LogId, wanted: (u64, Vec<u64>)) {
    for _ in 0..3000 {
        if held(&*node.replica(), log) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(held(&*node.replica(), log), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_controllers_disown_is_set_aside_by_its_author_and_by_others() {
    let (a, b) = (Council::new(1), Council::new(2));
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node_a = a.start(dir_a.path(), vec![b.partner(vec![])]).await;
    author(&node_a, 0, 20).await;
    node_a.wait_for(&a.log(), 20, PATIENCE).await;
    let closing = node_a.replica().head(&a.log()).unwrap().unwrap().note;
    // What comes now is a thief's.
    author(&node_a, 20, 10).await;
    let node_b = b.start(dir_b.path(), vec![a.partner(vec![node_a.address.clone()])]).await;
    node_b.wait_for(&a.log(), 30, PATIENCE).await;
    node_a.stop().await;

    let recovered = a.recovered(&closing);
    node_b.handle.introduce(recovered.identity.events().to_vec()).await;
    wait_until_held(&node_b, &a.log(), (20, vec![30])).await;
    let status = node_b.handle.status().await.unwrap();
    let log = status.logs.iter().find(|log| log.log == a.log()).unwrap();
    assert!(log.closed && !log.disputed && (log.size, log.signed) == (20, 20), "{log:?}");

    // The author itself: journal and replica.
    let node_a = recovered.start(dir_a.path(), vec![b.partner(vec![])]).await;
    wait_until_held(&node_a, &a.log(), (20, vec![30])).await;
    author(&node_a, 100, 5).await;
    node_b.stop().await;
    let node_b = b.start(dir_b.path(), vec![a.partner(vec![node_a.address.clone()])]).await;
    node_b.wait_for(&recovered.log(), 5, PATIENCE).await;
    same_entries(&node_a, &node_b, &recovered, 5);
    same_entries(&node_a, &node_b, &a, 20);
    node_a.stop().await;
    node_b.stop().await;

    for (dir, own) in [(&dir_a, &recovered), (&dir_b, &b)] {
        let store = Store::open(dir.path(), &StoreOptions::default(), own.authority()).unwrap();
        assert_eq!(*store.report(), OpenReport::default());
        assert_eq!(held(&**store.replica(), &a.log()), (20, vec![30]));
        assert_eq!(held(&**store.replica(), &recovered.log()), (5, vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_witness_cosigns_and_both_sides_keep_its_line() {
    let b = Council::new(2);
    let a = Council::new(1).witnessed_by(&[&b]);
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node_a = a.start(dir_a.path(), vec![b.partner(vec![])]).await;
    let node_b = b.start(dir_b.path(), vec![a.partner(vec![node_a.address.clone()])]).await;
    for node in [&node_a, &node_b] {
        for council in [&a, &b] {
            node.handle.introduce(council.identity.events().to_vec()).await;
        }
    }
    author(&node_a, 0, 5).await;
    let cosigned = async |node: &Node| {
        let status = node.handle.status().await.unwrap();
        let log = status.logs.iter().find(|log| log.log == a.log()).cloned();
        log.is_some_and(|log| log.signed == 5 && log.cosigned == 1 && log.witnesses == (1, 1))
    };
    for node in [&node_a, &node_b] {
        let started = Instant::now();
        while !cosigned(node).await {
            assert!(started.elapsed() < PATIENCE, "{:#?}", node.handle.status().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    node_a.stop().await;
    node_b.stop().await;
    // What it promised is in the journal of the witness, the line with the head at both.
    let store = Store::open(dir_b.path(), &StoreOptions::default(), b.authority()).unwrap();
    let head = store.replica().head(&a.log()).unwrap().unwrap();
    assert_eq!(store.cosigned(&a.log()), Some((5, head.root)));
    let line = format!("{}/witness ", b.authority());
    assert!(String::from_utf8(head.note).unwrap().contains(&line));
}
