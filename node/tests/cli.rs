//! The built `tally` binary, as people and scripts use it.

// clippy.toml exempts test functions, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One authority with its directory; its node is killed when this is dropped.
struct Council {
    dir: tempfile::TempDir,
    running: Option<Child>,
}

impl Council {
    fn new(name: &str) -> Self {
        let council = Self { dir: tempfile::tempdir().unwrap(), running: None };
        let made = council.json(&["init", "--name", name, "--network", "test"]);
        assert!(made["authority"].as_str().unwrap().starts_with("tally1"), "{made}");
        council
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
        command.env_remove("TALLY_DATA").env("TALLY_LOG", "debug").arg("--data").arg(self.data());
        command
    }

    fn tally(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command().arg("--json").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Runs a command that must fail with `code`, a sentence and a line on what to do.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = self.command();
        // A node that does not start logs before it says why.
        command.env("TALLY_LOG", "error").args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{arguments:?}: {said}");
        assert!(lines[0].starts_with("error: ") && !lines[0].ends_with('.'), "{said}");
        assert!(lines[1].starts_with("       "), "{said}");
        said
    }

    /// Starts the node and waits for the line that says it is ready.
    fn run(&mut self) -> Value {
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut child = self
            .command()
            .args(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.running = Some(child);
        serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("{line:?}: {}", fs::read_to_string(self.log()).unwrap_or_default())
        })
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Asks the node to stop, as an init system does, and gives the exit code.
    #[cfg(unix)]
    fn stop(&mut self) -> Option<i32> {
        let mut child = self.running.take().unwrap();
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(asked.unwrap().success());
        child.wait().unwrap().code()
    }
}

impl Drop for Council {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _gone = child.kill();
            let _ended = child.wait();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

const CONTRACT: &str = r#"{
    "title": "Housing management system",
    "description": "Rents, repairs and allocations",
    "buyer": { "name": "Ash Borough Council" },
    "suppliers": [{ "name": "Softworks Ltd" }],
    "cpv": "48000000",
    "value": { "amount": 9000000, "currency": "GBP" },
    "period": { "startDate": "2024-04-01", "endDate": "2029-03-31" }
}"#;

const REGISTER: &str = "Reference,Title,Buyer Name,Supplier,Value,Start date,End date\n\
    A1,Grounds maintenance,Ash Borough Council,Larch Gardens Ltd,1200.50,2025-04-01,2026-03-31\n\
    A2,Leisure management,The Ash Borough Council,Elm Leisure Ltd,90000,2024-04-01,2029-03-31\n\
    B1,Street lighting,Oak District Council,Bright Poles Ltd,45000,2024-04-01,2027-03-31\n";

#[cfg(unix)]
#[test]
fn a_record_lives_from_publication_to_withdrawal() {
    let mut ash = Council::new("Ash Borough Council");
    let ready = ash.run();
    for key in ["authority", "peer", "listen", "http"] {
        assert!(!ready[key].is_null(), "{ready}");
    }
    assert!(!ready["listen"][0].as_str().unwrap().ends_with("/tcp/0"), "{ready}");

    let file = ash.file("contract.json", CONTRACT);
    let refused = ash.fails(2, &["publish", "contract", &file]);
    assert!(refused.contains("--public") && refused.contains("--into"), "{refused}");
    let published = ash.json(&["publish", "contract", &file, "--public"]);
    let reference = published["ref"].as_str().unwrap().to_owned();
    assert_eq!(published["signed"], true);

    let found = ash.json(&["search", "housing", "--cpv", "48", "--ends-before", "2030-01-01"]);
    assert_eq!(found["total"], 1, "{found}");
    let hit = &found["results"][0];
    assert!(reference.starts_with(hit["ref"].as_str().unwrap()), "{hit}");
    assert_eq!(
        (&hit["kind"], &hit["title"]),
        (&"contract".into(), &"Housing management system".into())
    );
    let page = text(&ash.tally(&["search", "softworks"]).stdout);
    assert!(page.contains("£90,000.00") && page.contains("31 March 2029"), "{page}");

    let changed = ash.file("changed.json", &CONTRACT.replace("9000000", "9500000"));
    let second = ash.json(&["publish", "contract", &changed, "--public", "--replaces", &reference]);
    assert_ne!(second["ref"], published["ref"]);
    let short = hit["ref"].as_str().unwrap().split('/').nth(1).unwrap()[..10].to_owned();
    let shown = ash.json(&["show", &short, "--history"]);
    assert_eq!(shown["document"]["value"]["amount"], 9_500_000);
    assert_eq!(shown["state"], "current");
    assert_eq!(shown["history"].as_array().unwrap().len(), 2);
    assert_eq!(shown["history"][1]["changed"][0], "value.amount");
    assert_eq!(ash.json(&["show", &reference])["state"], "earlier");

    let withdrawn = ash.json(&["withdraw", &short]);
    assert_ne!(withdrawn["ref"], second["ref"]);
    ash.fails(2, &["withdraw", &short]);
    assert_eq!(ash.json(&["show", &short])["state"], "withdrawn");
    assert_eq!(ash.tally(&["search", "housing", "--fail-empty"]).status.code(), Some(1));

    let status = ash.json(&["status"]);
    let log = &status["logs"][0];
    assert_eq!(
        (&log["size"], &log["signed"], &log["space"]),
        (&4.into(), &4.into(), &"public".into())
    );
    for key in ["authority", "generation", "root", "state"] {
        assert!(!log[key].is_null(), "{log}");
    }
    assert!(status["peers"].as_array().unwrap().is_empty());

    assert_eq!(ash.stop(), Some(0));
    ash.fails(3, &["status"]);
    assert!(!ash.data().join("api.addr").exists());
    ash.run();
    assert_eq!(ash.json(&["status"])["logs"][0]["size"], 4);
}

#[cfg(unix)]
#[test]
fn partners_replicate_import_and_prove_to_each_other() {
    let (mut ash, mut oak) =
        (Council::new("Ash Borough Council"), Council::new("Oak District Council"));
    ash.run();
    oak.run();
    let register = ash.file("register.csv", REGISTER);
    let preview = ash.json(&["import", "--dry-run", &register]);
    assert_eq!((&preview["stored"], &preview["reference"]), (&2.into(), &1.into()), "{preview}");
    let imported = ash.json(&["import", "--public", &register]);
    assert_eq!((&imported["stored"], &imported["reference"]), (&2.into(), &1.into()), "{imported}");
    let again = ash.json(&["import", "--public", &register]);
    assert_eq!((&again["unchanged"], &again["stored"]), (&2.into(), &0.into()), "{again}");

    // Oak adds the card of Ash; Ash sees a request and accepts it.
    let card = ash.file("card.txt", &text(&ash.tally(&["whoami"]).stdout));
    let added = oak.json(&["partner", "add", &card]);
    assert_eq!(added["changed"], true);
    until("the request", || {
        !ash.json(&["partner", "list"])["requests"].as_array().unwrap().is_empty()
    });
    ash.json(&["partner", "accept", "Oak District Council"]);
    until("the records", || oak.json(&["search", "leisure"])["total"] == 1);
    let oak_register = oak.json(&["import", "--public", &register]);
    assert_eq!((&oak_register["stored"], &oak_register["reference"]), (&1.into(), &2.into()));
    until("Oak's record", || ash.json(&["search", "lighting", "--records-only"])["total"] == 1);
    // Where the buyer speaks itself, the imported notice steps back.
    until("one answer for each", || {
        ash.json(&["search", ""])["total"] == 3 && oak.json(&["search", ""])["total"] == 3
    });

    // A proof of a partner's record, verified without node and directory.
    let hit = &oak.json(&["search", "leisure"])["results"][0];
    let proof = oak.dir.path().join("leisure.proof");
    let proof = proof.to_str().unwrap();
    oak.json(&["prove", hit["ref"].as_str().unwrap(), "-o", proof]);
    let empty = tempfile::tempdir().unwrap();
    let verify = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
        command.current_dir(empty.path()).env_clear().args(["verify", "--json", proof]);
        command.args(arguments).output().unwrap()
    };
    let verdict: Value = serde_json::from_slice(&verify(&[]).stdout).unwrap();
    assert_eq!(
        (&verdict["verified"], &verdict["identity"]),
        (&true.into(), &"self-asserted".into())
    );
    assert_eq!(verdict["document"]["title"], "Leisure management");
    let author = hit["authority"].as_str().unwrap();
    let pinned = verify(&["--authority", author]);
    assert_eq!(pinned.status.code(), Some(0));
    assert!(text(&pinned.stdout).contains("\"identity\":\"pinned\""));
    let other = oak.json(&["whoami"])["authority"].as_str().unwrap().to_owned();
    let refused = verify(&["--authority", &other]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stdout).contains("\"verified\":false"));

    assert_eq!(oak.fails(2, &["withdraw", hit["ref"].as_str().unwrap()]).lines().count(), 2);
    oak.json(&["partner", "remove", "Ash Borough Council"]);
    assert!(oak.json(&["partner", "list"])["partners"].as_array().unwrap().is_empty());
}

#[test]
fn bad_input_is_one_sentence_and_exit_code_two() {
    let mut ash = Council::new("Ash Borough Council");
    ash.run();
    let before = ash.json(&["status"])["logs"].clone();
    let bad = |content: &str| ash.file("bad", content);
    let cases: Vec<Vec<String>> = [
        vec!["publish", "invoice", &ash.file("ok.json", CONTRACT), "--public"],
        vec!["publish", "contract", &bad("{"), "--public"],
        vec!["publish", "contract", "/nonexistent", "--public"],
        vec!["publish", "contract", &ash.file("a", "{}"), "--public"],
        vec!["publish", "contract", &ash.file("b", r#"{"title":"A","tittle":"B"}"#), "--public"],
        vec!["publish", "contract", &ash.file("c", r#"{"title":"A","cpv":"4"}"#), "--public"],
        vec![
            "publish",
            "contract",
            &ash.file("d", r#"{"title":"A","value":{"amount":1.5}}"#),
            "--public",
        ],
        vec!["publish", "contract", &ash.file("e", CONTRACT), "--into", "boroughs"],
        vec![
            "publish",
            "contract",
            &ash.file("f", CONTRACT),
            "--public",
            "--replaces",
            "nothing here",
        ],
        vec!["import", &ash.file("g", "x"), "--public"],
        vec!["import", &ash.file("h", ""), "--public"],
        vec!["import", &ash.file("i", "%PDF-1.7 x"), "--public"],
        vec!["import", "/nonexistent", "--public"],
        vec!["import", &ash.file("j.csv", REGISTER)],
        vec!["partner", "add", &ash.file("k", "good morning")],
        vec!["partner", "add", "tallystick-card:AAAA"],
        vec!["search", "--kind", "invoice"],
        vec!["search", "--cpv", "IT"],
        vec!["search", "--ends-before", "31/03/2026"],
        vec!["show", "a b c"],
        vec!["verify", "/nonexistent"],
        vec!["verify", "--authority", "tally1x", "x"],
        vec!["init", "--name", "Ash Borough Council"],
        vec!["run", "--http", "0.0.0.0:1"],
        vec!["fly"],
    ]
    .into_iter()
    .map(|words| words.into_iter().map(str::to_owned).collect())
    .collect();
    for words in cases {
        ash.fails(2, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(ash.json(&["status"])["logs"], before);
}

#[cfg(unix)]
#[test]
fn an_import_survives_a_killed_node_and_is_resumed() {
    const ROWS: u64 = 6000;
    let mut ash = Council::new("Ash Borough Council");
    ash.run();
    let mut rows = "Reference,Title,Buyer Name,Supplier,Value,End date\n".to_owned();
    for row in 0..ROWS {
        rows.push_str(&format!("R{row},Lot {row},Ash Borough Council,Elm Ltd,{row},2026-03-31\n"));
    }
    let file = ash.file("register.csv", &rows);
    let size = |council: &Council| council.json(&["status"])["logs"][0]["size"].as_u64().unwrap();
    let mut import = ash.command();
    import.args(["import", "--public", &file]).stdout(Stdio::null()).stderr(Stdio::piped());
    let import = import.spawn().unwrap();
    until("some of the rows", || size(&ash) > 500);
    let mut node = ash.running.take().unwrap();
    node.kill().unwrap();
    node.wait().unwrap();
    let output = import.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let words: Vec<_> = said.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == ["rows", "were"]).unwrap();
    let acknowledged: u64 = words[at - 1].replace(',', "").parse().unwrap();

    ash.run();
    let kept = size(&ash) - 1;
    assert!((acknowledged..ROWS).contains(&kept), "{kept} kept, {acknowledged} acknowledged");
    let resumed = ash.json(&["import", "--public", &file]);
    assert_eq!(resumed["rows"], ROWS);
    assert_eq!(resumed["unchanged"], kept);
    assert_eq!(resumed["stored"], ROWS - kept);
    assert_eq!(size(&ash), ROWS + 1);
    assert_eq!(ash.json(&["status"])["logs"][0]["state"], "current");
}

#[test]
fn rows_that_repeat_one_another_are_decided_in_their_order() {
    const NOTICES: u64 = 400;
    let mut ash = Council::new("Ash Borough Council");
    ash.run();
    let mut lines = String::new();
    for (day, value) in [(1, 10), (2, 20), (1, 10), (3, 30)] {
        for notice in 0..NOTICES {
            let line = serde_json::json!({
                "ocid": format!("ocds-zz1234-{notice}"), "id": format!("{notice}-{day}"),
                "date": format!("2026-03-0{day}T09:00:00Z"), "tag": ["award"],
                "buyer": { "name": "Ash Borough Council" },
                "awards": [{
                    "id": "1", "title": format!("Made-up work {notice}"), "status": "active",
                    "value": { "amount": value, "currency": "GBP" },
                }],
            });
            lines.push_str(&format!("{line}\n"));
        }
    }
    let file = ash.file("releases.jsonl", &lines);
    let first = ash.json(&["import", "--public", &file]);
    let counts = |summary: &Value| {
        ["rows", "stored", "changed", "unchanged"].map(|key| summary[key].as_u64().unwrap())
    };
    let of = |times: u64| times * NOTICES;
    assert_eq!(counts(&first), [of(4), of(1), of(2), of(1)], "an older release adds nothing");
    let again = ash.json(&["import", "--public", &file]);
    assert_eq!(counts(&again), [of(4), 0, 0, of(4)]);
    let found = ash.json(&["search", "made-up", "--kind", "contract"]);
    assert_eq!(found["total"], NOTICES);
    let reference = found["results"][0]["ref"].as_str().unwrap();
    let reference = reference.split('@').next().unwrap();
    let shown = ash.json(&["show", reference, "--history"]);
    assert_eq!(shown["history"].as_array().map(Vec::len), Some(3), "{shown}");
}

#[test]
fn malformed_rows_are_refused_one_by_one() {
    let mut ash = Council::new("Ash Borough Council");
    ash.run();
    let rows = "\n{\"buyer\":\n[]\n{}\n\"text\"\n{\"ocid\":\"ocds-x-1\",\"tag\":\"award\"}\n";
    let file = ash.file("rows.jsonl", &rows.repeat(3));
    let output = ash.command().args(["--json", "import", "--public", &file]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["rows"], summary["refusedTotal"]);
    for refused in summary["refused"].as_array().unwrap() {
        let reason = refused["reason"].as_str().unwrap();
        assert!(!reason.is_empty() && !reason.contains('\n') && !reason.ends_with('.'), "{reason}");
    }
}

#[test]
fn two_nodes_share_neither_directory_nor_address() {
    let (mut ash, oak) = (Council::new("Ash Borough Council"), Council::new("Oak Council"));
    let ready = ash.run();
    let address = ready["listen"][0].as_str().unwrap();
    let http = ready["http"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert!(ash.fails(3, &["run"]).contains("another process"));
    assert!(oak.fails(2, &["run", "--listen", address]).contains(address));
    let listen = "/ip4/127.0.0.1/tcp/0";
    assert!(oak.fails(2, &["run", "--listen", listen, "--http", http]).contains(http));
    assert!(!oak.data().join("api.addr").exists());
}

#[test]
fn without_a_node_commands_say_how_to_start_one() {
    let ash = Council::new("Ash Borough Council");
    for words in [&["status"][..], &["search", "x"], &["show", "x"], &["partner", "list"]] {
        assert!(ash.fails(3, words).contains("tally run"));
    }
    let output = ash.command().args(["--json", "status"]).output().unwrap();
    let failure: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(failure["error"].is_string() && failure["remedy"].is_string());
    let nowhere = Council { dir: tempfile::tempdir().unwrap(), running: None };
    for words in [&["status"][..], &["whoami"], &["run"]] {
        assert!(nowhere.fails(3, words).contains("tally init"));
    }
    let data = ash.data();
    fs::write(data.join("tally.toml"), "network = 7\n").unwrap();
    assert!(ash.fails(2, &["run"]).contains("line 1"));
}

/// Files of the data directory that nobody else may read, and what is in them.
fn secrets(data: &Path) -> Vec<(PathBuf, String)> {
    let keys = fs::read_dir(data.join("keys")).unwrap().map(|entry| entry.unwrap().path());
    let files = keys.chain([data.join("api.token")]);
    files
        .map(|path| {
            let content = fs::read_to_string(&path).unwrap();
            let secret = content.split_whitespace().last().unwrap().to_owned();
            (path, secret)
        })
        .collect()
}

#[cfg(unix)]
#[test]
fn secrets_are_private_and_appear_nowhere() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut ash = Council::new("Ash Borough Council");
    let ready = ash.run();
    let file = ash.file("contract.json", CONTRACT);
    let mut said = ready.to_string();
    for words in [
        &["publish", "contract", &file, "--public"][..],
        &["whoami"],
        &["status"],
        &["partner", "list"],
        &["search", "housing"],
    ] {
        for json in [&["--json"][..], &[]] {
            let output = ash.command().args(json).args(words).output().unwrap();
            said.push_str(&text(&output.stdout));
            said.push_str(&text(&output.stderr));
        }
    }
    let found = secrets(&ash.data());
    assert_eq!(found.len(), 7);
    for (path, secret) in &found {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
        assert_eq!(secret.len(), 64, "{}", path.display());
    }
    assert_eq!(fs::metadata(ash.data()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(ash.stop(), Some(0));
    said.push_str(&fs::read_to_string(ash.log()).unwrap());
    for (path, secret) in &found {
        assert!(!said.contains(secret.as_str()), "{}", path.display());
    }
}

#[test]
fn the_api_is_for_the_command_only() {
    let mut ash = Council::new("Ash Borough Council");
    let ready = ash.run();
    let address = ready["http"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let token = fs::read_to_string(ash.data().join("api.token")).unwrap();
    let ask = |host: &str, token: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!(
            "GET /v1/status HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    assert!(ask(&address, &token).contains("200"));
    assert!(ask(&address, "0000").contains("401"));
    assert!(ask("council.example", &token).contains("401"));
}
