//! What happens in the demo, told as it happens.
//!
//! **Invariant:** every number told is measured or read back from a node, and
//! every expectation is checked where it is told: what does not hold ends the
//! demo with one sentence. Deliberately absent: what anybody says (`story`) and
//! how nodes are started (`federation`).

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::to_raw_value;
use tallystick_protocol::id::{AuthorityId, LogId};
use tallystick_protocol::identity::Role;
use tallystick_protocol::proof::record::UnverifiedRecordProof;
use tallystick_protocol::record::{Contract, Kind, Performance, Pipeline};

use super::federation::{Federation, Grid, Node, Settled};
use super::story;
use super::{REPORT, Voice, expect};
use crate::cli::wording::{clean, count, day_text, several, table};
use crate::failure::Failure;
use crate::partner::replace;
use crate::search::Query;
use crate::service::answer::{
    Audience, ImportBatch, ImportDraft, ImportOutcome, ImportRow, Publish, Shown,
};
use crate::store::audit::audit;

/// What the demo found, for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// Where all files are.
    pub(super) data: String,
    /// The nodes, in the order in which they came.
    pub(super) nodes: Vec<NodeFacts>,
    /// Entries that every node holds in the end, over all logs.
    pub(super) entries: u64,
    /// From the last word of the first councils until all had everything.
    pub(super) replicated: Spans,
    /// The council that came late.
    pub(super) late: LateFacts,
    /// From a new version until every other node had it.
    pub(super) live: Spans,
    /// What the search across all councils gave, the cheapest first.
    pub(super) offers: Vec<Offer>,
    /// By how many per cent the dearest is above the cheapest.
    pub(super) spread_percent: i64,
    /// The proof that was written and verified.
    pub(super) proof: ProofFacts,
    /// Milliseconds from the first step to the last.
    pub(super) elapsed_millis: u64,
}

/// How long something took to be everywhere, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spans {
    /// Until it was checked and on every disk.
    pub(super) stored_millis: u64,
    /// Until every node could find it.
    pub(super) found_millis: u64,
}

impl Spans {
    fn between(since: Instant, settled: &Settled) -> Self {
        Self {
            stored_millis: millis(settled.stored - since),
            found_millis: millis(settled.found - since),
        }
    }
}

/// One node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeFacts {
    pub(super) name: &'static str,
    pub(super) authority: AuthorityId,
    pub(super) data: String,
    pub(super) http: String,
    pub(super) listen: Vec<String>,
    /// Entries of its own log.
    pub(super) entries: u64,
}

/// The council that came late.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LateFacts {
    pub(super) name: &'static str,
    /// Entries it fetched.
    pub(super) entries: u64,
    /// From meeting its first partner.
    #[serde(flatten)]
    pub(super) spans: Spans,
}

/// What one council pays.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offer {
    pub(super) buyer: String,
    pub(super) product: String,
    /// Pence per dwelling and year.
    pub(super) unit_price: i64,
    pub(super) dwellings: i64,
    pub(super) ends: String,
    #[serde(rename = "ref")]
    pub(super) reference: String,
    /// The clause by which others may buy from the contract.
    pub(super) sharing: Option<String>,
}

/// A proof that was written and verified.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ProofFacts {
    pub(super) file: String,
    #[serde(rename = "ref")]
    pub(super) reference: String,
    pub(super) authority: AuthorityId,
    pub(super) bytes: usize,
    pub(super) verified: bool,
}

/// Tells the whole story with nodes below `dir`. What was started is in
/// `stage` afterwards, also if the story ends badly.
///
/// # Errors
/// A [`Failure`]: what did not hold, or what a node could not do.
pub(super) async fn tell(
    dir: &Path,
    voice: Voice,
    stage: &mut Option<Federation>,
) -> Result<Summary, Failure> {
    let begun = Instant::now();
    let federation = stage.insert(Federation::start(dir, &story::FIRST).await?);
    introduce(federation, voice, begun.elapsed()).await?;
    let said = publish(federation, voice).await?;
    let replicated = replicate(federation, voice, said).await?;
    let late = come_late(federation, dir, voice).await?;
    let live = change(federation, voice).await?;
    let offers = compare_prices(federation, voice).await?;
    let spread = draw_conclusions(&offers, voice)?;
    judge_and_plan(federation, voice).await?;
    let proof = prove(federation, dir, voice, &offers).await?;
    let entries = check_everything(federation, voice).await?;
    Ok(Summary {
        data: dir.display().to_string(),
        nodes: facts(federation).await?,
        entries,
        replicated,
        late,
        live,
        offers,
        spread_percent: spread,
        proof,
        elapsed_millis: millis(begun.elapsed()),
    })
}

/// Who is who.
async fn introduce(federation: &Federation, voice: Voice, took: Duration) -> Result<(), Failure> {
    let nodes = federation.nodes();
    voice.title("Who is who");
    voice.say(&format!(
        "It took {} to make {} authorities with keys, directory and node each, and to \
         exchange their cards: now each is a partner of all others. Over the telephone \
         they would compare these fingerprints:",
        span(took),
        nodes.len(),
    ));
    let mut rows = Vec::new();
    for node in nodes {
        let who = node.service.whoami().await?;
        expect(who.name == node.member.name, || {
            format!("the node of {} calls itself {}", node.member.name, who.name)
        })?;
        let role = match node.member.role {
            Role::Auditor => "auditor",
            _ => "buyer",
        };
        rows.push(vec![who.name, role.to_owned(), who.fingerprint]);
    }
    voice.show(&table(&["Authority", "Role", "Fingerprint"], &rows));
    Ok(())
}

/// What each of them publishes; gives when the last word was said.
async fn publish(federation: &Federation, voice: Voice) -> Result<Instant, Failure> {
    voice.title("What they publish");
    let begun = Instant::now();
    let mut rows = Vec::new();
    for node in federation.nodes() {
        rows.push(speak(node).await?);
    }
    let said = Instant::now();
    voice.say(&format!(
        "Each council imports its register of contracts and publishes what else it \
         has to say. All of it was signed and on disk {} later.",
        span(said - begun),
    ));
    let headings = ["Authority", "Register", "own", "references", "Published singly"];
    voice.show(&table(&headings, &rows));
    voice.say(&format!(
        "The file of {} also has {} of {}, which is not on the network. They stay \
         where they are: shown to its own people for context, marked as vouched \
         for by nobody, and never sent to others.",
        story::DUNMARSH.short,
        several(story::NOTICES, "notice"),
        story::STRANGER,
    ));
    Ok(said)
}

/// Imports and publishes what one authority has to say; gives a row about it.
async fn speak(node: &Node) -> Result<Vec<String>, Failure> {
    let member = &node.member;
    let register = member.register();
    let mut counted = [0_u64; 2];
    if !register.is_empty() {
        for row in import(node, &register).await? {
            match row {
                ImportOutcome::Stored => counted[0] += 1,
                ImportOutcome::Reference => counted[1] += 1,
                other => {
                    return Err(Failure::no(
                        format!("a row of the register of {} came out as {other:?}", member.short),
                        REPORT,
                    ));
                }
            }
        }
        let strangers = if *member == story::DUNMARSH { story::NOTICES } else { 0 };
        expect(counted == [story::ORDINARY, strangers], || {
            format!("the counts of the import of {} do not add up", member.short)
        })?;
        let again = import(node, &register).await?;
        let kept = |outcome: &ImportOutcome| {
            matches!(outcome, ImportOutcome::Unchanged | ImportOutcome::Reference)
        };
        expect(again.iter().all(kept), || {
            format!("importing the register of {} again changed something", member.short)
        })?;
    }
    let mut singly = Vec::new();
    if let Some(contract) = member.housing_contract(false) {
        let reference = say(node, "contract", &contract).await?;
        singly.push("contract");
        if let Some(note) = member.note(&reference) {
            say(node, "performance", &note).await?;
            singly.push("performance");
        }
    }
    if let Some(plan) = member.plan() {
        say(node, "pipeline", &plan).await?;
        singly.push("plan");
    }
    let [stored, references] = counted.map(count);
    let rows = several(register.len() as u64, "row");
    Ok(vec![member.short.to_owned(), rows, stored, references, singly.join(", ")])
}

async fn import(node: &Node, register: &[Contract]) -> Result<Vec<ImportOutcome>, Failure> {
    let row = |(number, contract): (u64, &Contract)| {
        Ok(ImportRow {
            number,
            drafts: vec![ImportDraft {
                kind: "contract".to_owned(),
                document: to_raw_value(contract).map_err(Failure::internal)?,
                buyers: contract.buyer.iter().cloned().collect(),
                warnings: Vec::new(),
            }],
        })
    };
    let batch = ImportBatch {
        rows: (1..).zip(register).map(row).collect::<Result<_, Failure>>()?,
        audience: Audience::Public,
        preview: false,
        note: "the demo's register".to_owned(),
    };
    let imported = node.service.import(batch).await?;
    Ok(imported.rows.into_iter().flat_map(|row| row.outcomes).collect())
}

/// Publishes one document; gives its reference.
async fn say(node: &Node, kind: &str, document: &impl Serialize) -> Result<String, Failure> {
    let publish = Publish {
        kind: kind.to_owned(),
        document: serde_json::to_value(document).map_err(Failure::internal)?,
        audience: Audience::Public,
        reference: None,
        retain_until: None,
        without_reply: None,
        extract_of: None,
    };
    let published = node.service.publish(publish).await?;
    // Of notes and prices for everybody it warns, rightly: all this is made up.
    let fits = |warning: &String| warning.starts_with("everybody may read");
    expect(published.signed && published.warnings.iter().all(fits), || {
        format!("{} published a {kind} that is not signed as it should be", node.member.short)
    })?;
    Ok(published.reference)
}

/// What arrived where.
async fn replicate(federation: &Federation, voice: Voice, said: Instant) -> Result<Spans, Failure> {
    let settled = federation.settle().await?;
    voice.title("What arrived where");
    voice.say(&format!(
        "{} after the last word every node has every log, has checked each entry \
         against its author's signature and has it on disk; after {} all can find it. \
         One row per node, one column per author, entries in the cells (the first is \
         the author's identity):",
        capitalised(&span(settled.stored - said)),
        span(settled.found - said),
    ));
    voice.show(&shown(federation, &settled.grid));
    Ok(Spans::between(said, &settled))
}

fn shown(federation: &Federation, grid: &Grid) -> String {
    let names = || federation.nodes().iter().map(|node| node.member.short);
    let headings: Vec<_> = std::iter::once("Node").chain(names()).collect();
    let row = |(name, cells): (&str, &Vec<u64>)| {
        std::iter::once(name.to_owned()).chain(cells.iter().map(|cell| count(*cell))).collect()
    };
    let rows: Vec<Vec<String>> = names().zip(grid).map(row).collect();
    table(&headings, &rows)
}

/// One council starts late and catches up, then says what it has to say.
async fn come_late(
    federation: &mut Federation,
    dir: &Path,
    voice: Voice,
) -> Result<LateFacts, Failure> {
    let late = story::EASTFOLD;
    voice.title("One comes late");
    let met = federation.join(dir, late).await?;
    let settled = federation.settle().await?;
    let own = federation.node(&late)?.service.authority();
    let row = settled.grid.last().map(Vec::as_slice).unwrap_or_default();
    let fetched: u64 = federation
        .nodes()
        .iter()
        .zip(row)
        .filter(|(node, _)| node.service.authority() != own)
        .map(|(_, size)| size)
        .sum();
    expect(fetched >= 4 * story::ORDINARY, || {
        format!("{} caught up with {fetched} entries only", late.short)
    })?;
    voice.say(&format!(
        "{} joins when all is said. {} after it met its first partner it has \
         caught up with {} of {} authorities, checked and on disk; after {} it can find \
         them. Then it publishes its own:",
        late.name,
        capitalised(&span(settled.stored - met)),
        plural(fetched, "entry", "entries"),
        row.len().saturating_sub(1),
        span(settled.found - met),
    ));
    speak(federation.node(&late)?).await?;
    let spans = Spans::between(met, &settled);
    voice.show(&shown(federation, &federation.settle().await?.grid));
    Ok(LateFacts { name: late.name, entries: fetched, spans })
}

/// A new version travels while everybody is connected.
async fn change(federation: &Federation, voice: Voice) -> Result<Spans, Failure> {
    let member = story::COLDHARROW;
    let node = federation.node(&member)?;
    let extended = member.housing_contract(true);
    let extended =
        extended.ok_or_else(|| Failure::internal("the story has no contract to extend"))?;
    let reference = say(node, "contract", &extended).await?;
    let said = Instant::now();
    let settled = federation.settle().await?;
    for other in federation.nodes() {
        let seen = other.service.show(&reference, true).await?;
        let versions = seen.history.map_or(0, |history| history.len());
        expect(versions == 2, || {
            format!("{} knows {versions} versions of the contract", other.member.short)
        })?;
    }
    voice.title("News travels by itself");
    voice.say(&format!(
        "{} extends its contract for the {} by a year. {} later all {} others have the \
         new version, and still the old one: a log only grows. After {} all find it.",
        member.short,
        story::QUESTION,
        capitalised(&span(settled.stored - said)),
        federation.nodes().len() - 1,
        span(settled.found - said),
    ));
    Ok(Spans::between(said, &settled))
}

/// One council asks what all others pay.
async fn compare_prices(federation: &Federation, voice: Voice) -> Result<Vec<Offer>, Failure> {
    let node = federation.node(&story::DUNMARSH)?;
    voice.title("One question to all councils");
    let query = Query {
        kind: Some(Kind::CONTRACT),
        cpv: Some(digits(story::SOFTWARE)),
        ..Query::text(story::QUESTION)
    };
    let begun = Instant::now();
    let found = node.service.search(query.clone()).await?;
    let took = begun.elapsed();
    let mut offers = Vec::new();
    for hit in &found.results {
        offers.push(offer(node.service.show(&hit.address, false).await?)?);
    }
    offers.sort_by_key(|offer| offer.unit_price);
    let mut told: Vec<_> =
        federation.nodes().iter().filter_map(|node| Some(node.member.housing?.pence)).collect();
    told.sort_unstable();
    let prices: Vec<_> = offers.iter().map(|offer| offer.unit_price).collect();
    expect(prices == told, || {
        format!("the search found the prices {prices:?} where there are {told:?}")
    })?;
    everybody_answers_alike(federation, &query).await?;
    let all = node.service.search(Query { limit: 0, ..Query::default() }).await?.total;
    voice.say(&format!(
        "{} needs a {}. It asks its own node, which asks nobody: {} among {} in {}.",
        story::DUNMARSH.short,
        story::QUESTION,
        several(found.total, "contract"),
        several(all, "record"),
        span(took),
    ));
    let row = |offer: &Offer| {
        let price = pounds(offer.unit_price, 2);
        vec![
            story::short(&offer.buyer),
            clean(&offer.product),
            price,
            count(offer.dwellings.unsigned_abs()),
            day_text(&offer.ends),
        ]
    };
    let rows: Vec<_> = offers.iter().map(row).collect();
    voice.show(&table(&["Who", "Product", "Dwelling a year", "Dwellings", "Ends"], &rows));
    Ok(offers)
}

/// One search on any node shows the same records, and references only where they were imported.
async fn everybody_answers_alike(federation: &Federation, query: &Query) -> Result<(), Failure> {
    let all = Query { include_references: false, limit: 1000, ..Query::default() };
    let mut before = None;
    for node in federation.nodes() {
        let here = &node.service;
        let answers = (here.search(query.clone()).await?, here.search(all.clone()).await?);
        let same = before.get_or_insert_with(|| answers.clone()) == &answers;
        expect(same, || format!("{} finds other records than the others", node.member.short))?;
        let strangers = here.search(Query::text(story::STRANGER)).await?.total;
        let wanted = if node.member == story::DUNMARSH { story::NOTICES } else { 0 };
        expect(strangers == wanted, || {
            format!("{} shows {strangers} notices of {}", node.member.short, story::STRANGER)
        })?;
    }
    Ok(())
}

fn offer(shown: Shown) -> Result<Offer, Failure> {
    let contract: Contract = serde_json::from_value(shown.document).map_err(Failure::internal)?;
    let item = contract.items.into_iter().next().unwrap_or_default();
    let price = item.unit_price.and_then(|price| price.amount);
    let dwellings = item.quantity.and_then(|quantity| quantity.parse().ok());
    let missing = || Failure::no(format!("{} has no unit price", contract.title), REPORT);
    Ok(Offer {
        buyer: contract.buyer.map(|buyer| buyer.name).unwrap_or_default(),
        product: item.product.unwrap_or_default(),
        unit_price: price.ok_or_else(missing)?,
        dwellings: dwellings.ok_or_else(missing)?,
        ends: contract
            .period
            .and_then(|period| period.end_date)
            .map(|date| date.as_str().to_owned())
            .unwrap_or_default(),
        reference: shown.reference,
        sharing: contract.sharing.and_then(|sharing| sharing.clause),
    })
}

/// What the prices mean.
fn draw_conclusions(offers: &[Offer], voice: Voice) -> Result<i64, Failure> {
    let ends = offers.first().zip(offers.last());
    let (cheap, dear) = ends.ok_or_else(|| Failure::no("no prices were found", REPORT))?;
    let spread = (dear.unit_price - cheap.unit_price) * 100 / cheap.unit_price.max(1);
    expect(spread > 0 && offers.iter().all(|offer| offer.product == cheap.product), || {
        "the prices are not for the same product or do not differ".to_owned()
    })?;
    let over = |offer: &Offer| (offer.unit_price - cheap.unit_price) * offer.dwellings;
    let saved: i64 = offers.iter().map(over).sum();
    voice.say(&format!(
        "It is the same product of the same supplier. {} pays {spread} % more per \
         dwelling than {}. At the lowest price these councils together would pay {} \
         a year less.",
        story::short(&dear.buyer),
        story::short(&cheap.buyer),
        pounds(saved, 0),
    ));
    if let Some((offer, clause)) =
        offers.iter().find_map(|offer| Some((offer, offer.sharing.as_deref()?)))
    {
        voice.say(&format!(
            "And nobody has to start from nothing: others may buy from the contract of {} ({}).",
            story::short(&offer.buyer),
            clean(clause),
        ));
    }
    Ok(spread)
}

/// What two councils think of the supplier, and what two plan to buy.
async fn judge_and_plan(federation: &Federation, voice: Voice) -> Result<(), Failure> {
    let node = federation.node(&story::DUNMARSH)?;
    voice.title("Is it any good, and who else needs one?");
    let query = Query {
        kind: Some(Kind::PERFORMANCE),
        supplier: Some(story::SUPPLIER.to_owned()),
        ..Query::default()
    };
    let (mut rows, mut ratings) = (Vec::new(), Vec::new());
    for document in documents(node, query).await? {
        let note: Performance = serde_json::from_value(document).map_err(Failure::internal)?;
        let buyer = note.buyer.map(|buyer| buyer.name).unwrap_or_default();
        for kpi in note.kpis {
            let rating = kpi.rating.map(|rating| in_words(rating.as_str())).unwrap_or_default();
            let texts = [kpi.title, kpi.observation].map(|text| clean(&text.unwrap_or_default()));
            let [title, seen] = texts;
            rows.push(vec![story::short(&buyer), title, seen, rating.clone()]);
            ratings.push(rating);
        }
    }
    ratings.sort();
    ratings.dedup();
    expect(ratings.len() > 1, || "the two performance notes do not disagree".to_owned())?;
    rows.sort();
    voice.say(
        "Two of the three have rated the supplier, in the words of regulation 39 of the \
         Procurement Regulations 2024. They disagree, so it is worth a call to both. (All \
         this is made up, and public. Keep real assessments back until there are groups.)",
    );
    voice.show(&table(&["Who", "Measured", "Seen", "Rating"], &rows));

    let query = Query {
        kind: Some(Kind::PIPELINE),
        cpv: Some(digits(story::SOFTWARE)),
        ..Query::default()
    };
    let mut rows = Vec::new();
    for document in documents(node, query).await? {
        let plan: Pipeline = serde_json::from_value(document).map_err(Failure::internal)?;
        let joint = plan.collaboration.is_some_and(|with| with.wanted == Some(true));
        let starts = plan.period.and_then(|period| period.start_date);
        let starts = starts.map(|date| day_text(date.as_str())).unwrap_or_default();
        let buyer = plan.buyer.map(|buyer| buyer.name).unwrap_or_default();
        let joint = if joint { "yes" } else { "no" }.to_owned();
        rows.push(vec![story::short(&buyer), clean(&plan.title), starts, joint]);
    }
    rows.sort();
    let wanted = rows.iter().filter(|row| row.last().is_some_and(|joint| joint == "yes")).count();
    expect(wanted == 2, || format!("{wanted} plans could be joined where there are two"))?;
    voice.say("Two plan to buy one at nearly the same time, and would do it with others:");
    voice.show(&table(&["Who", "Plan", "Starts", "With others"], &rows));
    Ok(())
}

/// The documents of all records that fit.
async fn documents(node: &Node, query: Query) -> Result<Vec<serde_json::Value>, Failure> {
    let mut documents = Vec::new();
    for hit in node.service.search(query).await?.results {
        documents.push(node.service.show(&hit.address, false).await?.document);
    }
    Ok(documents)
}

/// The auditor proves a record of somebody else, and verifies it as anybody could.
async fn prove(
    federation: &Federation,
    dir: &Path,
    voice: Voice,
    offers: &[Offer],
) -> Result<ProofFacts, Failure> {
    let (author, prover) = (story::BRACKENMOOR, federation.node(&story::AUDITOR)?);
    let authority = federation.node(&author)?.service.authority();
    let offer = offers.iter().find(|offer| offer.buyer == author.name);
    let offer = offer.ok_or_else(|| Failure::no("the record to be proved is missing", REPORT))?;
    voice.title("Proof");
    let file = prover.service.prove(&offer.reference, &[]).await?;
    let path = dir.join(format!("{}-housing.proof", author.folder()));
    replace(&path, &file).map_err(|error| {
        Failure::unwritten(&path, &error, "name a directory that you may write to with --data DIR")
    })?;
    let begun = Instant::now();
    verify(&file, authority, &offer.reference)?;
    let took = begun.elapsed();
    refuse_changes(&file, authority, &offer.reference)?;
    voice.say(&format!(
        "{} holds a copy of what {} said. It writes a proof of the {} contract: {} \
         bytes. They verify in {}, without node or network: who said it, that nothing \
         in it has changed, and that it stands in the signed log. With one character \
         changed, at any of {} places tried, the file is refused. Anybody can check it:",
        prover.member.name,
        author.short,
        story::QUESTION,
        count(file.len() as u64),
        span(took),
        PLACES,
    ));
    let proof = ProofFacts {
        file: path.display().to_string(),
        reference: offer.reference.clone(),
        authority,
        bytes: file.len(),
        verified: true,
    };
    voice.show(&super::verify_command(&proof));
    Ok(proof)
}

/// Characters of the proof that the demo changes, one at a time.
const PLACES: usize = 64;

fn verify(file: &[u8], authority: AuthorityId, reference: &str) -> Result<(), Failure> {
    let proof = UnverifiedRecordProof::parse(file).and_then(|proof| proof.verify(&[]));
    let proof = proof
        .map_err(|error| Failure::no(format!("the proof does not verify: {error}"), REPORT))?;
    let (facts, name) = (proof.facts(), story::BRACKENMOOR.name);
    let right = proof.authority() == authority
        && facts.reference.to_string() == reference
        && facts.profile.name == name
        && facts.fields.text("items.0.product").as_deref() == Some(story::PRODUCT);
    expect(right, || "the proof proves something else than it should".to_owned())
}

fn refuse_changes(file: &[u8], authority: AuthorityId, reference: &str) -> Result<(), Failure> {
    for place in 0..PLACES {
        let mut changed = file.to_vec();
        let at = place * file.len() / PLACES;
        let Some(byte) = changed.get_mut(at) else { continue };
        *byte ^= 1;
        expect(verify(&changed, authority, reference).is_err(), || {
            format!("the proof still verifies with character {at} changed")
        })?;
    }
    Ok(())
}

/// The auditor reads every log it holds from the beginning, and believes nothing.
async fn check_everything(federation: &Federation, voice: Voice) -> Result<u64, Failure> {
    let auditor = federation.node(&story::AUDITOR)?;
    let begun = Instant::now();
    let mut entries = 0;
    for node in federation.nodes() {
        let log = LogId::public(node.service.authority(), 0);
        let replica = auditor.service.driver().replica();
        let counted = tokio::task::spawn_blocking(move || audit(&*replica, &log)).await;
        let counted = counted.map_err(Failure::internal)?.map_err(|error| {
            Failure::no(format!("the log of {} does not hold: {error}", node.member.short), REPORT)
        })?;
        expect(counted.absent == 0, || format!("bodies of {} are absent", node.member.short))?;
        entries += counted.entries;
        let refusals = node.service.status().await?.refusals;
        expect(refusals.is_empty(), || {
            format!("{} refused something: {refusals:?}", node.member.short)
        })?;
    }
    voice.say(&format!(
        "{} also reads all it holds from the beginning, computes every hash anew and \
         compares: {} under {} signed log heads in {}, all as they were signed.",
        story::AUDITOR.name,
        plural(entries, "entry", "entries"),
        federation.nodes().len(),
        span(begun.elapsed()),
    ));
    Ok(entries)
}

async fn facts(federation: &Federation) -> Result<Vec<NodeFacts>, Failure> {
    let mut facts = Vec::new();
    for node in federation.nodes() {
        let authority = node.service.authority();
        let status = node.service.status().await?;
        let own = status.logs.iter().find(|log| log.authority == authority);
        facts.push(NodeFacts {
            name: node.member.name,
            authority,
            data: node.place.data().display().to_string(),
            http: format!("http://{}", node.service.http()),
            listen: status.listen.clone(),
            entries: own.map_or(0, |log| log.size),
        });
    }
    Ok(facts)
}

/// The division of a CPV code: its digits without the noughts at the end.
fn digits(cpv: &str) -> String {
    cpv.trim_end_matches('0').to_owned()
}

/// `requiresImprovement` as `requires improvement`.
fn in_words(code: &str) -> String {
    let mut words = String::new();
    for letter in clean(code).chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `0.4 milliseconds`, `37 milliseconds`, `1.2 seconds`.
fn span(span: Duration) -> String {
    match span.as_micros() {
        0..1_000 => format!("0.{} milliseconds", span.as_micros() / 100),
        1_000..1_000_000 => several(millis(span), "millisecond"),
        _ => format!("{}.{} seconds", span.as_secs(), span.subsec_millis() / 100),
    }
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn pounds(pence: i64, digits: u32) -> String {
    use crate::cli::wording::money;
    use tallystick_protocol::record::money::decimal;
    let amount = if digits == 0 { decimal(pence / 100, 0) } else { decimal(pence, digits) };
    money(&amount, "GBP")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_fitting_units() {
        assert_eq!(span(Duration::from_micros(420)), "0.4 milliseconds");
        assert_eq!(span(Duration::from_millis(1)), "1 millisecond");
        assert_eq!(span(Duration::from_millis(37)), "37 milliseconds");
        assert_eq!(span(Duration::from_millis(1250)), "1.2 seconds");
    }

    #[test]
    fn codes_are_told_in_words() {
        assert_eq!(in_words("requiresImprovement"), "requires improvement");
        assert_eq!(in_words("good"), "good");
    }

    fn offer(buyer: &str, unit_price: i64, dwellings: i64) -> Offer {
        Offer {
            buyer: buyer.to_owned(),
            product: "Homes".to_owned(),
            unit_price,
            dwellings,
            ends: "2027-03-31".to_owned(),
            reference: String::new(),
            sharing: None,
        }
    }

    #[test]
    fn conclusions_need_one_product_at_different_prices() {
        let voice = Voice::Silent;
        let two = [offer("Ash", 1000, 10), offer("Oak", 1250, 10)];
        assert_eq!(draw_conclusions(&two, voice), Ok(25));
        assert!(draw_conclusions(&two[..1], voice).is_err());
        assert!(draw_conclusions(&[], voice).is_err());
        let other = Offer { product: "Lofts".to_owned(), ..offer("Elm", 2000, 1) };
        assert!(draw_conclusions(&[offer("Ash", 1000, 10), other], voice).is_err());
    }
}
