//! The long run: `cargo run --release -p tallystick-simulator -- --nodes N --authorities M --seeds S`.
//!
//! Without `--mixed` it measures a healthy network of that size, and of a tenth
//! and a third of it, and prints how the figures grow. With `--mixed` it runs all
//! faults at once, as the tests do, with as many seeds as asked for; with
//! `--witnesses` it says what cosigning costs.

use std::io::Write as _;
use std::time::Instant;

use clap::Parser;
use tallystick_protocol::checkpoint::{self, Checkpoint, Origin, witness_key};
use tallystick_protocol::limits;
use tallystick_protocol::log::empty_root;
use tallystick_protocol::time::UnixTime;
use tallystick_simulator::authority::{Who, network};
use tallystick_simulator::report::{self, Cosigning, Price, Size};
use tallystick_simulator::scenario::{
    Groups, Growth, Mixed, Outcome, Shared, Witnessed, in_parallel,
};

/// Drives the replication machine in virtual time.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Nodes, each of an authority of its own.
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
    /// How many of these authorities publish; all, if not said.
    #[arg(long)]
    authorities: Option<usize>,
    /// Runs, each with another seed.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// All kinds of faults at once, instead of a healthy network.
    #[arg(long)]
    mixed: bool,
    /// So many private groups that overlap, with faults.
    #[arg(long, conflicts_with_all = ["mixed", "witnesses"])]
    groups: Option<usize>,
    /// What cosigning costs, with so many witnesses of each authority, or each of these numbers.
    #[arg(long, value_delimiter = ',', conflicts_with = "mixed")]
    witnesses: Vec<usize>,
    /// There, each authority publishes once in so many seconds.
    #[arg(long, default_value_t = 600)]
    every: u64,
    /// There, for so many seconds the network is watched.
    #[arg(long, default_value_t = 600)]
    watched: u64,
    /// This size only, not smaller ones to see the growth.
    #[arg(long)]
    only: bool,
    /// Runs at one time. Each needs its own memory.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let authorities = arguments.authorities.unwrap_or(arguments.nodes);
    anyhow::ensure!(
        (2..=arguments.nodes).contains(&authorities) && arguments.nodes <= 50_000,
        "between 2 and as many authorities as nodes, and at most 50000 nodes"
    );
    let least = if arguments.mixed { 40 } else { 10 };
    anyhow::ensure!(arguments.nodes >= least, "at least {least} nodes");
    if let Some(count) = arguments.groups {
        return groups(&arguments, count);
    }
    match arguments.witnesses.as_slice() {
        [] if arguments.mixed => mixed(&arguments, authorities),
        [] => grow(&arguments, authorities),
        _ => cosign(&arguments, authorities),
    }
}

fn cosign(arguments: &Arguments, authorities: usize) -> anyhow::Result<()> {
    let witnesses = arguments.witnesses.iter().copied();
    anyhow::ensure!(
        witnesses.clone().all(|count| (1..authorities.min(limits::WITNESSES + 1)).contains(&count)),
        "between 1 and {} witnesses, and fewer than authorities",
        limits::WITNESSES
    );
    let now = || processor_time().unwrap_or(f64::NAN);
    let mut runs = Vec::new();
    for seed in seeds(arguments) {
        let Arguments { every, watched, .. } = *arguments;
        let plan = |witnesses| Witnessed { authorities, witnesses, every, watched, seed };
        let without = plan(0).run(now);
        for count in witnesses.clone() {
            let (plan, without) = (plan(count), without.clone());
            runs.push(Cosigning { plan, with: plan.run(now), without });
        }
    }
    Ok(write!(std::io::stdout(), "{}", report::cosigning(&runs, price()?))?)
}

/// What a cosignature costs on this machine.
fn price() -> anyhow::Result<Price> {
    const TIMES: u32 = 20_000;
    let who = Who::new(0);
    let origin = Origin::public(&network(), &who.authority(), 0);
    let head = checkpoint::sign(&Checkpoint::new(origin, 0, empty_root())?, &who.log_key())?;
    let key = witness_key(&network(), &who.authority(), who.witness_key().public());
    let time = UnixTime::from_seconds(1_800_000_000);
    let make = || head.cosign(key.name(), &who.witness_key(), time);
    let line = make()?;
    let each = |work: &dyn Fn() -> bool| {
        let begin = processor_time().unwrap_or(f64::NAN);
        let done = (0..TIMES).filter(|_| work()).count();
        (processor_time().unwrap_or(f64::NAN) - begin) / done as f64
    };
    let sign = each(&|| make().is_ok());
    let check = each(&|| head.clone().add(line.clone(), &key).is_ok());
    Ok(Price { sign, check })
}

fn seeds(arguments: &Arguments) -> Vec<u64> {
    (arguments.first_seed..arguments.first_seed + arguments.seeds.max(1)).collect()
}

fn mixed(arguments: &Arguments, authorities: usize) -> anyhow::Result<()> {
    let nodes = arguments.nodes;
    anyhow::ensure!(
        authorities <= nodes * 3 / 4,
        "with faults, a quarter of the nodes may not publish"
    );
    let run =
        |seed: &u64| -> (u64, Outcome) { (*seed, Mixed { nodes, authorities, seed: *seed }.run()) };
    let outcomes = in_parallel(arguments.threads, &seeds(arguments), run);
    Ok(write!(std::io::stdout(), "{}", report::mixed(&outcomes))?)
}

fn groups(arguments: &Arguments, groups: usize) -> anyhow::Result<()> {
    let nodes = arguments.nodes;
    anyhow::ensure!(groups > 0, "at least one group");
    #[allow(clippy::disallowed_methods, reason = "how long the run took is reported, not used")]
    let begin = Instant::now();
    let run =
        |seed: &u64| -> (u64, Shared) { (*seed, Groups { nodes, groups, seed: *seed }.run()) };
    let runs = in_parallel(arguments.threads, &seeds(arguments), run);
    let seconds = begin.elapsed().as_secs_f64();
    Ok(write!(std::io::stdout(), "{}\n{seconds:.1} s\n", report::groups(&runs))?)
}

fn grow(arguments: &Arguments, authorities: usize) -> anyhow::Result<()> {
    let nodes = arguments.nodes;
    let parts: &[usize] = if arguments.only { &[1_000] } else { &[100, 316, 1_000] };
    let part = |count: usize, part: usize| (count * part / 1_000).max(10);
    let mut sizes = Vec::new();
    for thousandths in parts {
        let (nodes, authorities) = (part(nodes, *thousandths), part(authorities, *thousandths));
        #[allow(clippy::disallowed_methods, reason = "how long the run took is reported, not used")]
        let (begin, used) = (Instant::now(), processor_time());
        let run = |seed: &u64| Growth { nodes, authorities, seed: *seed }.run();
        let rows = in_parallel(arguments.threads, &seeds(arguments), run);
        let seconds = begin.elapsed().as_secs_f64();
        writeln!(std::io::stderr(), "{nodes} nodes, {authorities} authorities: {seconds:.1} s")?;
        let processor = processor_time().zip(used).map(|(after, before)| after - before);
        sizes.push(Size { rows, seconds, processor, memory: peak_memory() });
    }
    let table = report::growth(&sizes);
    let more = report::extrapolation(&sizes, 10_000.0);
    Ok(write!(std::io::stdout(), "{table}\n{more}")?)
}

/// Processor time this process has used, in seconds, where the system says so.
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name of the program, which may contain anything; in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((times.next()? + times.next()?) / 100.0)
}

/// The most memory this process ever had, in MB, where the system says so.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}
