//! How fast an authority can speak: prepared entries, foreign files, one record.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Child;
use std::time::Instant;

use tallystick_node::cli::client::Client;
use tallystick_node::config::Place;
use tallystick_protocol::limits;

use crate::fixture::{Council, entry};
use crate::measure::{child, line, percentile, runtime, shown};

const RUNS: usize = 5;
const PREPARED: u64 = 100_000;
const RELEASES: u64 = 20_000;
const SINGLE: usize = 500;

pub(crate) fn run() {
    println!("authoring: median of {RUNS} runs (lowest–highest)");
    println!("  prepared entries/s   {}", shown((0..RUNS).map(|_| prepared()).collect()));
    let (mut first, mut again, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let dir = tempfile::tempdir().unwrap();
        let node = Tally::start(&dir.path().join("data"));
        let file = dir.path().join("releases.jsonl");
        std::fs::write(&file, releases()).unwrap();
        first.push(RELEASES as f64 / node.import(&file, "stored"));
        again.push(RELEASES as f64 / node.import(&file, "unchanged"));
        single.extend(node.publish());
        node.stop();
    }
    println!("  OCDS releases/s      {}", shown(first));
    println!("  …a second time       {}", shown(again));
    println!(
        "  one record: p50 {:.2} ms, p99 {:.2} ms ({} records, request to durable and answered)",
        percentile(&mut single, 50),
        percentile(&mut single, 99),
        single.len()
    );
}

/// Entries per second into journal, body files and replica.
fn prepared() -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut entries: Vec<_> = (0..PREPARED).map(entry).collect();
    runtime().block_on(async {
        let node = Council::new(1).start(dir.path(), vec![]).await;
        let started = Instant::now();
        let mut waiting = Vec::new();
        while !entries.is_empty() {
            let batch = entries.split_off(entries.len().saturating_sub(limits::AUTHOR_ENTRIES));
            let handle = node.handle.clone();
            waiting.push(tokio::spawn(async move { handle.author(batch).await }));
        }
        for authored in waiting {
            assert!(authored.await.unwrap().unwrap().signed);
        }
        let rate = PREPARED as f64 / started.elapsed().as_secs_f64();
        node.stop().await;
        rate
    })
}

/// Releases of made-up contracts of a made-up council, one to a line.
fn releases() -> String {
    let mut text = String::new();
    for n in 0..RELEASES {
        let (day, supplier) = (n % 28 + 1, n % 997);
        writeln!(
            text,
            r#"{{"ocid":"ocds-zz1234-{n:07}","id":"{n:07}-1","date":"2025-03-{day:02}T09:00:00Z","tag":["award","contract"],"initiationType":"tender","language":"en","parties":[{{"id":"GB-LAE-ZZZ","name":"Ash Council","roles":["buyer"],"identifier":{{"scheme":"GB-LAE","id":"ZZZ"}},"address":{{"streetAddress":"1 Made-up Street","locality":"Ashton","postalCode":"ZZ1 1ZZ","countryName":"United Kingdom"}}}},{{"id":"GB-COH-{supplier:08}","name":"Made-up Supplier {supplier} Ltd","roles":["supplier"],"identifier":{{"scheme":"GB-COH","id":"{supplier:08}"}}}}],"buyer":{{"id":"GB-LAE-ZZZ","name":"Ash Council"}},"tender":{{"id":"T-{n:07}","title":"Made-up works and services number {n}","description":"Works and services that nobody needs, described at the usual length of such descriptions, for lot {n}.","status":"complete","procurementMethod":"open","mainProcurementCategory":"services","value":{{"amount":{amount},"currency":"GBP"}},"items":[{{"id":"1","classification":{{"scheme":"CPV","id":"45000000","description":"Construction work"}}}}],"tenderPeriod":{{"endDate":"2025-02-{day:02}T12:00:00Z"}}}},"awards":[{{"id":"A-{n:07}","status":"active","date":"2025-03-{day:02}T00:00:00Z","value":{{"amount":{amount},"currency":"GBP"}},"suppliers":[{{"id":"GB-COH-{supplier:08}","name":"Made-up Supplier {supplier} Ltd"}}],"contractPeriod":{{"startDate":"2025-04-01T00:00:00Z","endDate":"2028-03-31T00:00:00Z"}}}}],"contracts":[{{"id":"C-{n:07}","awardID":"A-{n:07}","title":"Made-up works and services number {n}","status":"active","value":{{"amount":{amount},"currency":"GBP"}},"period":{{"startDate":"2025-04-01T00:00:00Z","endDate":"2028-03-31T00:00:00Z"}}}}]}}"#,
            amount = 10_000 + n,
        )
        .unwrap();
    }
    text
}

/// A node run by the command line, as users run it.
struct Tally {
    data: String,
    running: Child,
}

impl Tally {
    fn start(data: &Path) -> Self {
        let data = data.to_str().unwrap().to_owned();
        let init = [
            "tally",
            "--data",
            &data,
            "--json",
            "init",
            "--name",
            "Ash Council",
            "--org-id",
            "GB-LAE-ZZZ",
        ];
        assert!(child(&init).wait().unwrap().success());
        let listen = "/ip4/127.0.0.1/tcp/0";
        let mut running =
            child(&["tally", "--data", &data, "run", "--listen", listen, "--http", "127.0.0.1:0"]);
        assert!(line(&mut running).contains("authority"));
        Self { data, running }
    }

    /// Seconds until all of a file's releases are durable.
    fn import(&self, file: &Path, outcome: &str) -> f64 {
        let started = Instant::now();
        let file = file.to_str().unwrap();
        let mut import =
            child(&["tally", "--data", &self.data, "--json", "import", file, "--public"]);
        let result: serde_json::Value = serde_json::from_str(&line(&mut import)).unwrap();
        assert!(import.wait().unwrap().success());
        assert_eq!(result[outcome], RELEASES, "{result}");
        started.elapsed().as_secs_f64()
    }

    /// Milliseconds of single records.
    fn publish(&self) -> Vec<f64> {
        let client = Client::connect(&Place::at(Path::new(&self.data))).unwrap();
        let mut millis = Vec::new();
        for n in 0..SINGLE {
            let record = serde_json::json!({
                "kind": "contract",
                "audience": "public",
                "document": {
                    "title": format!("Made-up purchase {n}"),
                    "buyer": { "name": "Ash Council" },
                    "value": { "amount": 1000 + n, "currency": "GBP" },
                },
            });
            let started = Instant::now();
            let published: serde_json::Value = client.post("records", &record).unwrap();
            millis.push(started.elapsed().as_secs_f64() * 1e3);
            assert_eq!(published["signed"], true);
        }
        millis
    }

    fn stop(mut self) {
        let pid = self.running.id().to_string();
        assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        self.running.wait().unwrap();
    }
}
