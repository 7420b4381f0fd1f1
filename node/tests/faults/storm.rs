//! `kill -9` at random, and everything goes on publishing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::federation::{Federation, MEMBERS};
use crate::{ALL, PATIENCE};

/// Rows of one import under way.
const ROWS: u64 = 200;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Kills and restarts members for two minutes while three publish single
/// records, one imports and one looks.
pub fn storm(federation: &Federation) {
    let since = Instant::now();
    let length = Duration::from_secs(setting("TALLY_FAULTS_SECONDS").unwrap_or(120));
    let seed =
        setting("TALLY_FAULTS_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ entropy());
    eprintln!("faults: storm of {length:?}; repeat it with TALLY_FAULTS_SEED={seed}");
    let end = since + length;
    let counts = Counts::default();
    std::thread::scope(|scope| {
        // Two who kill, each its own half, so that nobody is killed twice at once.
        for half in [0, 1] {
            let mut rng = SmallRng::seed_from_u64(seed.wrapping_add(half));
            let counts = &counts;
            let members = if half == 0 { 0..4 } else { 4..MEMBERS };
            scope.spawn(move || kill(federation, members, &mut rng, end, counts));
        }
        for writer in 0..3 {
            let counts = &counts;
            scope.spawn(move || publish(federation, writer, end, counts));
        }
        let mut rng = SmallRng::seed_from_u64(seed.wrapping_add(2));
        scope.spawn(move || import(federation, &mut rng, end));
        let mut rng = SmallRng::seed_from_u64(seed.wrapping_add(3));
        scope.spawn(move || {
            while Instant::now() < end {
                // It may be dead at the moment.
                let _dead = federation.look(rng.random_range(0..MEMBERS));
                std::thread::sleep(Duration::from_millis(100));
            }
        });
    });
    let took = federation.converge(&ALL, PATIENCE, "the storm");
    let [kills, published, refused] = [&counts.kills, &counts.published, &counts.refused]
        .map(|count| count.load(Ordering::SeqCst));
    assert!(kills * 6 > length.as_secs(), "only {kills} kills");
    assert!(published > kills, "only {published} records published");
    federation.report(
        &format!(
            "storm of {kills} kills, {published} records published and {refused} not, {} heads seen \
             (agreed after {took:.1?})",
            federation.heads_seen()
        ),
        since,
    );
}

#[derive(Default)]
struct Counts {
    kills: AtomicU64,
    published: AtomicU64,
    refused: AtomicU64,
}

/// A seed nobody chose.
fn entropy() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

fn kill(
    federation: &Federation,
    members: std::ops::Range<usize>,
    rng: &mut SmallRng,
    end: Instant,
    counts: &Counts,
) {
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(rng.random_range(200..2_500)));
        let member = &federation.members[rng.random_range(members.clone())];
        member.kill();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1_500)));
        member.start().unwrap_or_else(|said| panic!("{} does not start: {said}", member.name));
        counts.kills.fetch_add(1, Ordering::SeqCst);
    }
}

fn publish(federation: &Federation, writer: usize, end: Instant, counts: &Counts) {
    for turn in 0.. {
        if Instant::now() > end {
            break;
        }
        let member = &federation.members[(writer + turn * 3) % MEMBERS];
        let count = match member.publish(&federation.titles("stormy", 1)[0]) {
            Ok(()) => &counts.published,
            // Not acknowledged: it may be there or not.
            Err(_) => &counts.refused,
        };
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(150));
    }
}

fn import(federation: &Federation, rng: &mut SmallRng, end: Instant) {
    while Instant::now() < end {
        let member = &federation.members[rng.random_range(0..MEMBERS)];
        // What is acknowledged before it is killed is remembered.
        let _killed = member.import(&federation.titles("stormy row", ROWS));
        std::thread::sleep(Duration::from_millis(rng.random_range(500..3_000)));
    }
}
