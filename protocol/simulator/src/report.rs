//! The table of a long run, how its figures grow, and what that means for more.
//!
//! Growth is a power fitted to the two largest sizes that were run. It says what
//! comes next if nothing changes in kind; it is printed with the word
//! "extrapolated", and figures beyond a tenfold size are not given at all.

use std::fmt::Write as _;

use crate::measure::{Event, Histogram, Traffic, Volume};
use crate::scenario::{Cost, Outcome, Phase, Row, Shared, Witnessed};

/// All runs of one size, with what they took.
#[derive(Clone, Debug)]
pub struct Size {
    /// One row for each seed; at least one.
    pub rows: Vec<Row>,
    /// Wall-clock time of all of them together, in seconds.
    pub seconds: f64,
    /// Processor time of all of them together, in seconds, if known.
    pub processor: Option<f64>,
    /// The most memory the program ever had, in MB, if known.
    pub memory: Option<u64>,
}

/// One figure of a size.
#[derive(Clone, Copy)]
struct Figure {
    name: &'static str,
    of: fn(&Size) -> f64,
    decimals: usize,
}

const FIGURES: [Figure; 17] = [
    Figure {
        name: "cold: seconds to converge",
        of: |s| s.mean(|r| seconds(r.cold.settled)),
        decimals: 1,
    },
    Figure { name: "cold: messages sent per node", of: |s| s.volume(|r| &r.cold).0, decimals: 0 },
    Figure { name: "cold: kB sent per node", of: |s| s.volume(|r| &r.cold).1, decimals: 0 },
    Figure {
        name: "cold: of that news, kB",
        of: |s| s.kind(|r| &r.cold, Traffic::News),
        decimals: 0,
    },
    Figure { name: "cold: entries in vain, %", of: |s| s.vain(|r| &r.cold), decimals: 1 },
    Figure {
        name: "live: messages sent per node and record",
        of: |s| s.volume(|r| &r.live).0 / s.authorities(),
        decimals: 1,
    },
    Figure {
        name: "live: bytes sent per node and record",
        of: |s| s.volume(|r| &r.live).1 * 1e3 / s.authorities(),
        decimals: 0,
    },
    Figure {
        name: "live: of that news, bytes",
        of: |s| s.kind(|r| &r.live, Traffic::News) * 1e3 / s.authorities(),
        decimals: 0,
    },
    Figure {
        name: "live: copies heard per message",
        of: |s| s.mean(|r| copies(&r.live)),
        decimals: 1,
    },
    Figure { name: "live: entries in vain, %", of: |s| s.vain(|r| &r.live), decimals: 1 },
    Figure {
        name: "record durable at one node, p50 ms",
        of: |s| s.latency(false, 50),
        decimals: 0,
    },
    Figure {
        name: "record durable at one node, p99 ms",
        of: |s| s.latency(false, 99),
        decimals: 0,
    },
    Figure {
        name: "record durable at all nodes, p50 ms",
        of: |s| s.latency(true, 50),
        decimals: 0,
    },
    Figure {
        name: "record durable at all nodes, p99 ms",
        of: |s| s.latency(true, 99),
        decimals: 0,
    },
    Figure { name: "wall clock of a run, s", of: |s| s.seconds / s.rows.len() as f64, decimals: 1 },
    Figure {
        name: "processor time of a run, s",
        of: |s| s.processor.map_or(f64::NAN, |seconds| seconds / s.rows.len() as f64),
        decimals: 1,
    },
    Figure {
        name: "peak memory so far, MB",
        of: |s| s.memory.map_or(f64::NAN, |mb| mb as f64),
        decimals: 0,
    },
];

/// How many of the figures are of the network, and not of its simulation.
const OF_NETWORK: usize = 14;

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn copies(phase: &Phase) -> f64 {
    let measure = &phase.measure;
    let heard = measure.gossip_new + measure.gossip_again;
    heard as f64 / measure.gossip_new.max(1) as f64
}

impl Size {
    fn nodes(&self) -> f64 {
        self.rows.first().map_or(0, |row| row.nodes) as f64
    }

    fn authorities(&self) -> f64 {
        self.rows.first().map_or(0, |row| row.authorities) as f64
    }

    fn mean(&self, of: impl Fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(of).sum::<f64>() / self.rows.len() as f64
    }

    /// Messages and kilobytes per node.
    fn volume(&self, phase: impl Fn(&Row) -> &Phase) -> (f64, f64) {
        let volume = |row: &Row| -> Volume { phase(row).measure.total() };
        let nodes = self.nodes();
        let messages = self.mean(|row| volume(row).messages as f64 / nodes);
        (messages, self.mean(|row| volume(row).bytes as f64 / 1e3 / nodes))
    }

    /// Kilobytes of one kind per node.
    fn kind(&self, phase: impl Fn(&Row) -> &Phase, kind: Traffic) -> f64 {
        self.mean(|row| phase(row).measure.of(kind).bytes as f64 / 1e3 / self.nodes())
    }

    fn vain(&self, phase: impl Fn(&Row) -> &Phase) -> f64 {
        self.mean(|row| {
            let measure = &phase(row).measure;
            100.0 * measure.entries_again() as f64 / measure.stored.max(1) as f64
        })
    }

    fn latency(&self, all: bool, percent: u64) -> f64 {
        let mut merged = Histogram::default();
        for row in &self.rows {
            merged.merge(if all { &row.latency.all } else { &row.latency.each });
        }
        merged.percentile(percent) as f64 / 1e3
    }
}

/// The table: one column for each size, then how the figures grow.
#[must_use]
pub fn growth(sizes: &[Size]) -> String {
    let mut text = String::from("| |");
    for size in sizes {
        let (nodes, authorities) = (size.nodes(), size.authorities());
        _ = write!(text, " {nodes} nodes, {authorities} authorities |");
    }
    let grows = sizes.len() > 1;
    text.push_str(if grows { " grows as |\n" } else { "\n" });
    text.push_str("|---|");
    text.push_str(&"---:|".repeat(sizes.len() + usize::from(grows)));
    text.push('\n');
    for (number, figure) in FIGURES.iter().enumerate() {
        _ = write!(text, "| {} |", figure.name);
        for size in sizes {
            _ = write!(text, " {:.*} |", figure.decimals, (figure.of)(size));
        }
        match exponent(sizes, figure).filter(|_| grows && number < OF_NETWORK) {
            Some(power) => _ = write!(text, " n^{power:.2} |"),
            None if grows => text.push_str(" |"),
            None => {}
        }
        text.push('\n');
    }
    text
}

/// The power by which a figure grows between the two largest sizes.
fn exponent(sizes: &[Size], figure: &Figure) -> Option<f64> {
    let [.., before, last] = sizes else { return None };
    let (small, large) = ((figure.of)(before), (figure.of)(last));
    let ratio = last.nodes() / before.nodes();
    (small > 0.0 && large > 0.0 && ratio > 1.0).then(|| (large / small).ln() / ratio.ln())
}

/// What the same would cost with `nodes` nodes, if growth goes on as it was.
#[must_use]
pub fn extrapolation(sizes: &[Size], nodes: f64) -> String {
    let Some(last) = sizes.last() else { return String::new() };
    let more = nodes / last.nodes();
    if more > 10.0 || sizes.len() < 2 {
        return String::new();
    }
    let mut text = format!(
        "Extrapolated to {nodes} nodes and {} authorities, not run; a power through the last \
         two sizes, which knows nothing of limits that have not been reached:\n",
        last.authorities() * more
    );
    for figure in FIGURES.iter().take(OF_NETWORK) {
        if let Some(power) = exponent(sizes, figure) {
            let value = (figure.of)(last) * more.powf(power);
            _ = writeln!(text, "- {}: {:.*}", figure.name, figure.decimals, value);
        }
    }
    text
}

/// A network with witnesses, beside the same without.
#[derive(Clone, Debug)]
pub struct Cosigning {
    /// What was run; the other one differs in its witnesses only.
    pub plan: Witnessed,
    /// With witnesses.
    pub with: Cost,
    /// Without.
    pub without: Cost,
}

/// What one cosignature costs, in seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    /// To make it.
    pub sign: f64,
    /// To check it.
    pub check: f64,
}

impl Cosigning {
    /// Seconds and nodes that it was watched.
    fn share(&self) -> f64 {
        self.plan.watched as f64 * self.plan.authorities as f64
    }

    /// What a node sends more than it would without witnesses, in kbit a second.
    #[must_use]
    pub fn kilobits(&self) -> f64 {
        let sent = |cost: &Cost| cost.measure.total().bytes as f64;
        (sent(&self.with) - sent(&self.without)) * 8.0 / 1e3 / self.share()
    }

    /// Checks that a node makes for each cosignature that there is.
    #[must_use]
    pub fn checks(&self) -> f64 {
        self.with.checked as f64 / self.with.signed.max(1) as f64 / self.plan.authorities as f64
    }

    /// Share of a core that making and checking cosignatures takes of a node, in percent.
    #[must_use]
    pub fn percent(&self, price: Price) -> f64 {
        let seconds = self.with.signed as f64 * price.sign + self.with.checked as f64 * price.check;
        100.0 * seconds / self.share()
    }

    /// The same from the processor time of the runs, which has all else in it that
    /// is done about cosignatures, in the machines and in the simulation.
    #[must_use]
    pub fn percent_of_run(&self) -> f64 {
        100.0 * (self.with.processor - self.without.processor) / self.share()
    }
}

/// What cosigning costs, a line for each network.
#[must_use]
pub fn cosigning(runs: &[Cosigning], price: Price) -> String {
    let mut text = format!(
        "A cosignature takes {:.0} µs to make and {:.0} µs to check.\n\n\
         | authorities | witnesses | a head every s | kbit/s in all | kbit/s due to cosigning \
         | checks per cosignature and node | % of a core: signatures | % of a core: all, simulated \
         | all confirmed everywhere after s |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        price.sign * 1e6,
        price.check * 1e6,
    );
    for run in runs {
        let Witnessed { authorities, witnesses, every, .. } = run.plan;
        let all = run.with.measure.total().bytes as f64 * 8.0 / 1e3 / run.share();
        _ = writeln!(
            text,
            "| {authorities} | {witnesses} | {every} | {all:.1} | {:.2} | {:.2} | {:.3} | {:.3} | {:.1} |",
            run.kilobits(),
            run.checks(),
            run.percent(price),
            run.percent_of_run(),
            seconds(run.with.settled),
        );
    }
    text
}

/// One line for each run with mixed faults, and what happened in all of them.
#[must_use]
pub fn mixed(outcomes: &[(u64, Outcome)]) -> String {
    let mut text = String::from(
        "| seed | settled after s | messages | MB | trace |\n|---:|---:|---:|---:|---|\n",
    );
    let mut all = crate::measure::Happened::default();
    for (seed, outcome) in outcomes {
        let volume = outcome.measure.total();
        let trace: String = outcome.trace.iter().take(6).fold(String::new(), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        });
        let settled = seconds(outcome.settled);
        let megabytes = volume.bytes as f64 / 1e6;
        let messages = volume.messages;
        _ = writeln!(text, "| {seed} | {settled:.1} | {messages} | {megabytes:.1} | {trace} |");
        all.merge(&outcome.happened);
    }
    text.push_str("\nWhat happened at honest nodes, in all runs:\n");
    let events: Vec<(Event, u64)> = all.events.into_iter().collect();
    events.iter().for_each(|(event, times)| _ = writeln!(text, "- {event:?}: {times}"));
    for (refusal, times) in &all.refusals {
        _ = writeln!(text, "- refused as {}: {times}", refusal.label());
    }
    text
}

/// What came of runs with groups, a line for each seed.
#[must_use]
pub fn groups(runs: &[(u64, Shared)]) -> String {
    let mut text = String::from(
        "seed | s until agreed | s in all | members | entries | of membership | frames checked | what people did\n",
    );
    for (seed, run) in runs {
        let Shared { settled, took, members, written: (entries, controls), frames, deeds, .. } =
            run;
        let deeds: Vec<_> = deeds.iter().map(|(what, times)| format!("{what} {times}")).collect();
        let (settled, took, deeds) = (seconds(*settled), seconds(*took), deeds.join(", "));
        let _infallible = writeln!(
            text,
            "{seed} | {settled:.1} | {took:.0} | {members} | {entries} | {controls} | {frames} | {deeds}",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(nodes: usize, messages: u64) -> Size {
        let mut row = Row { nodes, authorities: nodes, ..Row::default() };
        let volume = Volume { messages: messages * nodes as u64, bytes: 0 };
        row.cold.measure.sent.insert(Traffic::News, volume);
        Size { rows: vec![row], seconds: 1.0, processor: None, memory: None }
    }

    #[test]
    fn growth_is_the_power_between_the_last_two_sizes() {
        let sizes = [size(10, 7), size(100, 1_000), size(1_000, 100_000)];
        let table = growth(&sizes);
        let line = table.lines().find(|line| line.contains("cold: messages")).unwrap();
        assert_eq!(line, "| cold: messages sent per node | 7 | 1000 | 100000 | n^2.00 |");
        assert!(extrapolation(&sizes, 10_000.0).contains("messages sent per node: 10000000"));
        assert_eq!(extrapolation(&sizes, 1e6), "", "too far to say anything");
    }
}
