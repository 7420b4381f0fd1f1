//! Sharing well, over real processes: performance notes with fair process, public
//! extracts of confidential records, audiences that are offered and explained.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod process;

use std::path::PathBuf;

use process::{Tally, comes, files_with, total};
use serde_json::{Value, json};

const GROUP: &str = "Quillwort Purchasing Circle";

/// Ash and Birch in a group that Ash created with these arguments, and Yew, who
/// is a partner of both and knows of nothing.
fn circle(birch: &[&str], create: &[&str]) -> [Tally; 3] {
    let mut ash = Tally::init(&["--name", "Ash Borough Council"]);
    let mut birch = Tally::init(&[&["--name", "Birch District Council"], birch].concat());
    let mut yew = Tally::init(&["--name", "Yew City Council"]);
    for node in [&mut ash, &mut birch, &mut yew] {
        node.start();
    }
    ash.befriend(&birch);
    ash.befriend(&yew);
    birch.befriend(&yew);
    ash.ok(&[&["group", "create", GROUP], create].concat());
    let invited = ash.ok(&["group", "invite", GROUP, "--authority", &birch.authority()]);
    let invitation = invited["invitation"].as_str().unwrap();
    comes("Birch knows who invites", || {
        birch.run(&["--yes", "group", "join", invitation]).status.success()
    });
    for node in [&ash, &birch] {
        comes("both are in", || {
            let members = node.run(&["group", "members", GROUP]);
            let members: Value = serde_json::from_slice(&members.stdout).unwrap_or_default();
            members["members"].as_array().is_some_and(|all| all.len() == 2)
        });
    }
    [ash, birch, yew]
}

fn file(node: &Tally, document: &Value) -> String {
    let file = node.dir.path().join("document.json");
    std::fs::write(&file, document.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The arguments that publish a contract in a file.
fn publishing<'a>(document: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    [&["publish", "contract", document], further].concat()
}

/// Exit code and what was said on standard error.
fn said(node: &Tally, arguments: &[&str]) -> (Option<i32>, String) {
    let output = node.run(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn refused(node: &Tally, arguments: &[&str], words: &str) {
    let (code, said) = said(node, arguments);
    assert_eq!(code, Some(2), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

fn reference(published: &Value) -> String {
    published["ref"].as_str().unwrap().split('@').next().unwrap().to_owned()
}

/// The page as people see it.
fn page(node: &Tally, reference: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tally"));
    let output = command.arg("--data").arg(node.data()).args(["show", reference]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// Size and root of a node's own public log.
fn own_head(node: &Tally) -> (Value, Value) {
    let (own, status) = (json!(node.authority()), node.ok(&["status"]));
    let logs = status["logs"].as_array().unwrap();
    let log = logs.iter().find(|log| log["authority"] == own && log["space"] == "public");
    let log = log.unwrap();
    (log["size"].clone(), log["root"].clone())
}

fn note(title: &str) -> Value {
    json!({
        "title": title, "supplier": { "name": "Zephyr Kestrel Grounds Ltd" },
        "kpis": [{ "title": "Grass cut", "rating": "inadequate" }], "expires": "2099-02-28",
    })
}

/// A draft that nobody wants is removed, after a question.
fn discarded(ash: &Tally, document: &str) {
    ash.ok(&["note", "draft", document]);
    refused(ash, &["note", "discard", "1"], "cannot be undone");
    ash.ok(&["--yes", "note", "discard", "1"]);
    assert_eq!(ash.ok(&["note", "list"])["notes"], json!([]));
    assert_eq!(said(ash, &["note", "show", "1"]).0, Some(1));
}

#[test]
fn a_note_is_heard_by_its_supplier_before_anybody_else_sees_it() {
    let [ash, birch, yew] = circle(&[], &["--kinds", "performance,pipeline"]);
    let document = file(&ash, &note("Zephyr mowing"));
    refused(&ash, &["publish", "performance", &document, "--into", GROUP], "has not been sent");
    refused(&ash, &["group", "create", "Other", "--kinds", "invoice"], "no kind of record");
    for node in [&ash, &birch] {
        let kinds = node.ok(&["group", "members", GROUP])["kinds"].clone();
        assert_eq!(kinds, json!(["performance", "pipeline"]));
    }
    let own = own_head(&ash);

    // A draft is on this node only, for its owner only, and in no log or index.
    let draft = ash.ok(&["note", "draft", &document]);
    assert_eq!((&draft["number"], &draft["state"]), (&json!(1), &json!("draft")));
    let kept = ash.data().join("drafts/1.json");
    assert_eq!(files_with(&ash.data(), b"Zephyr"), std::slice::from_ref(&kept));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut claimed = note("Zephyr mowing");
    claimed["sentToSupplier"] = json!("2020-01-01");
    refused(&ash, &["note", "draft", &file(&ash, &claimed)], "not for the draft to say");
    refused(&ash, &["note", "reply", "1", &document], "was not sent");
    refused(&ash, &["note", "send", "1", "--window", "30 days"], "not a length of time");
    refused(&ash, &["note", "send", "1", "--on", "2999-01-01"], "has not come yet");
    refused(&ash, &["note", "share", "1", "--into", GROUP], "has not been sent");

    // Sent today: the supplier has its time, unless it replies before.
    let sent = ash.ok(&["note", "send", "1", "--window", "P2W"]);
    assert_eq!(sent["state"], "sent");
    refused(&ash, &["note", "share", "1", "--into", GROUP], "may still reply");
    refused(&ash, &["note", "send", "1"], "was sent to the supplier on");
    // What is changed has to be sent again.
    let changed = file(&ash, &note("Zephyr mowing and more"));
    let changed = ash.ok(&["note", "draft", &changed, "--replaces", "1"]);
    assert_eq!((&changed["state"], &changed["number"]), (&json!("draft"), &json!(1)));
    ash.ok(&["note", "send", "1"]);
    let reply = ash.dir.path().join("reply.txt");
    std::fs::write(&reply, "It rained from March to June.\n").unwrap();
    ash.ok(&["note", "reply", "1", reply.to_str().unwrap()]);
    assert_eq!(ash.ok(&["note", "list"])["notes"][0]["state"], "replied");
    assert_eq!(own_head(&ash), own, "up to here nothing was signed");
    assert_eq!(total(&ash, "Zephyr"), 0);

    // Nothing is shared without an audience; the group meant for notes comes first.
    refused(&ash, &["note", "share", "1"], "recommended for a performance note");
    refused(
        &ash,
        &["--yes", "note", "share", "1"],
        "add --into GROUP (its members only: Quillwort",
    );
    let draft = std::fs::read(&kept).unwrap();
    let shared = ash.ok(&["note", "share", "1", "--into", GROUP]);
    assert_eq!(shared["warnings"], json!([]));
    // As if the node had died before it removed the draft: it is not shared twice.
    std::fs::write(&kept, draft).unwrap();
    let (code, told) = said(&ash, &["note", "share", "1", "--into", GROUP]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("was shared already"), "{told}");
    assert!(!kept.exists(), "the record has taken its place");
    let shared = reference(&shared);
    comes("Birch finds it", || total(&birch, "Zephyr") == 1);
    for node in [&ash, &birch] {
        let shown = node.ok(&["show", &shared]);
        assert_eq!(shown["document"]["supplierReply"], "It rained from March to June.");
        assert_eq!(shown["notForTenderEvaluation"], true);
        assert_eq!(shown["expires"], "2099-02-28");
        // The first second of 1 March 2099.
        assert_eq!(shown["retainUntil"], json!(4_076_006_400_u64));
        let hit = &node.ok(&["search", "Zephyr"])["results"][0];
        let told = (&hit["notForTenderEvaluation"], &hit["expires"]);
        assert_eq!(told, (&json!(true), &json!("2099-02-28")));
        let page = page(node, &shared);
        assert!(
            page.contains("not for evaluating tenders; to be used until 28 February 2099"),
            "{page}"
        );
    }
    assert_eq!(total(&yew, "Zephyr"), 0);
    assert_eq!(files_with(&yew.data(), b"Zephyr"), Vec::<PathBuf>::new());

    // The time for a reply is over; everybody may see it, if somebody says so aloud.
    let mut mild = note("Mistral mowing");
    mild["replyWindow"] = json!("P1M");
    ash.ok(&["note", "draft", &file(&ash, &mild)]);
    assert_eq!(ash.ok(&["note", "send", "1", "--on", "2020-01-31"])["state"], "unanswered");
    assert_eq!(ash.ok(&["note", "show", "1"])["replyUntil"], "2020-02-29");
    let shared = ash.ok(&["note", "share", "1", "--public"]);
    let warnings = shared["warnings"].to_string();
    assert!(warnings.contains("everybody may read how a supplier performed"), "{warnings}");
    comes("Yew finds it", || total(&yew, "Mistral") == 1);

    // Whoever does not wait says why, for all to see.
    let urgent = file(&ash, &note("Sirocco mowing"));
    let publish = ["publish", "performance", &urgent, "--into", GROUP];
    let shared = ash.ok(&[&publish[..], &["--without-reply", "Danger to children"]].concat());
    assert!(shared["warnings"].to_string().contains("has not been sent"), "{shared}");
    let shown = ash.ok(&["show", &reference(&shared)]);
    assert_eq!(shown["document"]["sharedWithoutReply"], "Danger to children");

    discarded(&ash, &urgent);
}

#[test]
fn who_shares_is_told_who_of_them_also_sells() {
    let birch = ["--org-id", "GB-COH-01234567", "--role", "centre"];
    let [ash, birch, _yew] = circle(&birch, &[]);
    let supplied = json!({
        "title": "Payroll for schools",
        "suppliers": [{
            "name": "Birch Trading", "identifiers": [{ "scheme": "GB-COH", "id": "01234567" }]
        }],
    });
    ash.ok(&["publish", "contract", &file(&ash, &supplied), "--public"]);
    let unrelated = json!({ "title": "Salt", "suppliers": [{ "name": "GB COH 01234567" }] });
    ash.ok(&["publish", "contract", &file(&ash, &unrelated), "--public"]);
    assert_eq!(total(&ash, "Payroll"), 1, "and so it is in the index");
    let priced = json!({
        "title": "Gritting",
        "items": [{ "description": "Salt", "unitPrice": { "amount": 4200, "currency": "GBP" } }],
    });
    let document = file(&ash, &priced);
    // The prices make it one for the group, before it is shared and with who is in it.
    refused(&ash, &["publish", "contract", &document], "recommended for unit prices");
    let (code, told) = said(&ash, &["publish", "contract", &document, "--into", GROUP]);
    assert_eq!(code, Some(0), "{told}");
    let words = "Birch District Council (a buying organisation, and a supplier: 1 contract seen)";
    assert!(told.contains(words), "{told}");
    let shared = ash.ok(&["publish", "contract", &document, "--into", GROUP]);
    let seller = &shared["audience"]["sellers"][0];
    assert_eq!((&seller["contracts"], &seller["centre"]), (&json!(1), &json!(true)));
    assert_eq!(seller["authority"], json!(birch.authority()));
    assert_eq!(shared["warnings"], json!([]));
    let shared = ash.ok(&["publish", "contract", &document, "--public"]);
    assert!(shared["warnings"].to_string().contains("everybody may read unit prices"));
}

#[test]
fn invariant_3_an_extract_leads_members_to_the_whole_and_tells_nobody_else() {
    let [ash, birch, mut yew] = circle(&[], &[]);
    let whole = json!({
        "title": "Zephyr haulage", "suppliers": [{ "name": "Quagmire Ltd" }],
        "items": [{ "description": "Night", "unitPrice": { "amount": 4200, "currency": "GBP" } }],
    });
    let shared = ash.ok(&["publish", "contract", &file(&ash, &whole), "--into", GROUP]);
    let whole = reference(&shared);
    let said_less =
        json!({ "title": "Mistral haulage", "suppliers": [{ "name": "Quagmire Ltd" }] });
    let document = file(&ash, &said_less);

    refused(
        &ash,
        &publishing(&document, &["--extract-of", &whole, "--into", GROUP]),
        "see the whole record",
    );
    refused(&ash, &publishing(&document, &["--extract-of", &whole]), "recommended for an extract");
    // As an option or in the document: the reference itself never gets out.
    let mut named = said_less.clone();
    named["extractOf"] = json!(whole);
    let named = file(&ash, &named);
    let extract = ash.ok(&["publish", "contract", &named, "--public"]);
    assert_eq!(extract["warnings"], json!([]));
    let extract = reference(&extract);
    file(&ash, &said_less);
    refused(
        &ash,
        &publishing(&document, &["--extract-of", &whole, "--public"]),
        "has an extract already",
    );
    refused(
        &ash,
        &publishing(&document, &["--extract-of", &extract, "--public"]),
        "needs no extract",
    );
    // Nor by any other field.
    let assessed = json!({ "contract": whole, "kpis": [{ "rating": "good" }] });
    let assessed = file(&ash, &assessed);
    refused(&ash, &["publish", "performance", &assessed, "--public"], "others would learn of it");
    file(&ash, &said_less);

    for node in [&ash, &birch] {
        comes("a member sees both ends", || {
            let (up, down) = (node.run(&["show", &extract]), node.run(&["show", &whole]));
            let json = |output: &[u8]| serde_json::from_slice::<Value>(output).unwrap_or_default();
            json(&up.stdout)["extractOf"]["ref"] == json!(whole)
                && json(&down.stdout)["extracts"][0]["ref"] == json!(extract)
        });
        let page = page(node, &extract);
        assert!(page.contains(&whole) && page.contains(GROUP), "{page}");
    }
    comes("Yew has the extract", || total(&yew, "Mistral") == 1);
    let shown = yew.ok(&["show", &extract]);
    assert_eq!((&shown["isExtract"], &shown["extractOf"]), (&json!(true), &Value::Null));
    assert_eq!(shown["document"]["extractOf"].as_str().unwrap().len(), 64);
    assert!(page(&yew, &extract).contains("extract of  a record that says more"));
    assert_eq!(yew.ok(&["search", "Mistral"])["results"][0]["isExtract"], true);

    // New versions keep the link.
    for (title, of, audience) in [
        ("Mistral haulage by day", &extract, &["--public"][..]),
        ("Zephyr haulage by day", &whole, &["--into", GROUP]),
    ] {
        let mut document = said_less.clone();
        document["title"] = json!(title);
        let document = file(&ash, &document);
        ash.ok(&[&["publish", "contract", &document, "--replaces", of], audience].concat());
    }
    comes("Birch sees both ends of what is new", || {
        let (up, down) = (birch.ok(&["show", &extract]), birch.ok(&["show", &whole]));
        up["title"] == "Mistral haulage by day"
            && down["title"] == "Zephyr haulage by day"
            && up["extractOf"]["ref"] == json!(whole)
            && down["extracts"][0]["ref"] == json!(extract)
    });

    erased_of_both(&ash, &birch, &yew, &whole, &extract);
    not_a_byte_of_it(&ash, &mut yew, &whole, &extract);
}

/// What is erased of one is erased of the other, where it has it.
fn erased_of_both(ash: &Tally, birch: &Tally, yew: &Tally, whole: &str, extract: &str) {
    let key = ash.data().join("keys/controller.key").to_str().unwrap().to_owned();
    let erase = |of: &str, further: &[&str]| {
        let arguments = ["--yes", "erase", of, "--reason", "mistake", "--with", &key];
        ash.ok(&[&arguments[..], further].concat())
    };
    let erased = erase(extract, &["--field", "suppliers"]);
    assert_eq!(erased["also"].as_array().unwrap().len(), 1, "{erased}");
    for node in [ash, birch, yew] {
        comes("the supplier is named nowhere", || total(node, "Quagmire") == 0);
    }
    let erased = erase(whole, &[]);
    assert!(erased["also"][0].as_str().unwrap().starts_with(extract), "{erased}");
    for node in [ash, birch, yew] {
        comes("nobody finds either", || total(node, "haulage") == 0);
        comes("and it is deleted", || {
            let references =
                if std::ptr::eq(node, yew) { &[extract][..] } else { &[extract, whole] };
            references.iter().all(|of| {
                let output = node.run(&["erase", "--status", of]);
                let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                let all = status["erasures"].as_array().cloned().unwrap_or_default();
                !all.is_empty() && all.iter().all(|one| !one["deleted"].is_null())
            })
        });
    }
}

/// Yew had the extract all the time, and of the rest nothing.
fn not_a_byte_of_it(ash: &Tally, yew: &mut Tally, whole: &str, extract: &str) {
    let group = ash.ok(&["group", "list"])["groups"][0]["group"].as_str().unwrap().to_owned();
    yew.kill();
    let record = whole.split('/').nth(1).unwrap();
    let bytes = |hex: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    };
    let mut secrets: Vec<Vec<u8>> =
        [record, &group, GROUP, "Zephyr"].map(|text| text.as_bytes().to_vec()).to_vec();
    secrets.extend([bytes(record), bytes(&group)]);
    for secret in secrets {
        let found = files_with(yew.dir.path(), &secret);
        assert_eq!(found, Vec::<PathBuf>::new(), "{}", String::from_utf8_lossy(&secret));
    }
    let of_extract = bytes(extract.split('/').nth(1).unwrap());
    assert!(!files_with(&yew.data(), &of_extract).is_empty(), "the search works");
}

#[test]
fn an_extract_can_be_erased_alone() {
    let [ash, _birch, yew] = circle(&[], &[]);
    let whole = file(&ash, &json!({ "title": "Zephyr haulage" }));
    let into = ["publish", "contract", &whole, "--into", GROUP, "--retain-until", "2098-12-31"];
    let whole = reference(&ash.ok(&into));
    let retained = ash.ok(&["show", &whole])["retainUntil"].clone();
    assert!(retained.is_u64(), "{retained}");
    let document = file(&ash, &json!({ "title": "Mistral haulage" }));
    let publish = ["publish", "contract", &document, "--public", "--extract-of", &whole];
    let extract = reference(&ash.ok(&publish));
    // The version that names the extract goes when the one before it was to go.
    assert_eq!(ash.ok(&["show", &whole])["retainUntil"], retained);
    comes("Yew has the extract", || total(&yew, "Mistral") == 1);
    // Said before it is done: both, unless one alone is asked for.
    let (code, told) = said(&ash, &["erase", &extract, "--reason", "mistake"]);
    assert_eq!(code, Some(2), "nobody said yes");
    assert!(told.contains(&whole) && told.contains("--only"), "{told}");
    let erased = ash.ok(&["--yes", "erase", &extract, "--reason", "mistake", "--only"]);
    assert!(erased["also"].is_null(), "{erased}");
    comes("Yew has it no more", || total(&yew, "Mistral") == 0);
    assert_eq!(ash.ok(&["show", &whole])["state"], "current");
    // Then there may be another, which stands when the whole is withdrawn, and is said to.
    let other = reference(&ash.ok(&publish));
    assert_ne!(other, extract);
    let withdrawn = ash.ok(&["withdraw", &whole]);
    assert!(withdrawn["warnings"].to_string().contains(&other), "{withdrawn}");
    let erased = ash.ok(&["--yes", "erase", &whole, "--reason", "mistake"]);
    assert!(erased["also"][0].as_str().unwrap().starts_with(&other), "{erased}");
}

#[test]
fn what_was_imported_before_can_be_an_extract_and_stays_one() {
    let [ash, birch, _yew] = circle(&[], &[]);
    let import = |title: &str| {
        let file = ash.dir.path().join("register.csv");
        let row = format!("HMS-22,{title},Quagmire Ltd,01/10/2022,30/09/2027,387280,48000000\n");
        let heading = "Reference,Title,Supplier,Start date,End date,Contract value,CPV code\n";
        std::fs::write(&file, format!("{heading}{row}")).unwrap();
        ash.ok(&["import", file.to_str().unwrap(), "--register", "--public"])
    };
    assert_eq!(import("Mistral housing")["stored"], 1);
    let found = ash.ok(&["search", "Mistral"])["results"][0]["ref"].as_str().unwrap().to_owned();
    let whole = file(&ash, &json!({ "title": "Zephyr housing" }));
    let whole = reference(&ash.ok(&["publish", "contract", &whole, "--into", GROUP]));
    // The document as it was shown, which is how people make a new version.
    let document = file(&ash, &ash.ok(&["show", &found])["document"]);
    let replaced = ["publish", "contract", &document, "--public", "--replaces", &found];
    ash.ok(&[&replaced[..], &["--extract-of", &whole]].concat());
    assert_eq!(ash.ok(&["show", &found])["extractOf"]["ref"], json!(whole));
    // What is shown bears the mark by now, and no other may be made up.
    let shown = ash.ok(&["show", &found])["document"].clone();
    file(&ash, &shown);
    ash.ok(&replaced);
    let mut forged = shown;
    forged["extractOf"] = json!("0a".repeat(32));
    file(&ash, &forged);
    refused(&ash, &replaced, "not for the document to say");
    assert_eq!(import("Mistral housing system")["changed"], 1);
    for node in [&ash, &birch] {
        comes("it is still the extract", || {
            let shown = node.run(&["show", &found]);
            let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
            shown["title"] == "Mistral housing system" && shown["extractOf"]["ref"] == json!(whole)
        });
    }
}
