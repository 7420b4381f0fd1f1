//! An auditor judges proof files with the protocol crate alone.
//!
//! Somebody hands over a file that is said to show what a council pays. Without
//! a node, a network or the council's help the auditor finds out who said it,
//! that it has not changed, and under which signed log head it stands. The same
//! file with one bit changed is refused, wherever the bit is, and so is a true
//! file by somebody else than the council that was asked about.
//!
//! Run it with `cargo run -p tallystick-examples --example verify_offline`.

use std::io::Write;

use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::proof::record::{RecordFacts, UnverifiedRecordProof};

use crate::Outcome;
use crate::council::{Council, contract};

/// Runs the example.
///
/// # Errors
/// If anything is not as the description says.
pub fn run(out: &mut dyn Write) -> Outcome {
    let (ash, file) = hand_over("Ash Borough Council", 1)?;
    let (_, other) = hand_over("Oak Borough Council", 2)?;

    let facts = judge(&file, ash)?;
    writeln!(out, "The file of {} bytes proves:", file.len())?;
    writeln!(out, "  who    {} ({ash})", facts.profile.name)?;
    writeln!(out, "  what   {}", facts.fields.text("title").unwrap_or_default())?;
    writeln!(out, "  where  entry {} of {}", facts.reference, facts.checkpoint.origin())?;
    writeln!(
        out,
        "  under  {} entries, root {}",
        facts.checkpoint.size(),
        facts.checkpoint.root()
    )?;

    let mut refused = 0;
    for at in 0..file.len() {
        let mut changed = file.clone();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= 1 << (at % 8);
        }
        // A change that says nothing else, such as another spelling, would not
        // be wrong; there is none here, since a proof has one spelling.
        if judge(&changed, ash).is_ok() {
            return Err(format!("the file still verifies with byte {at} changed").into());
        }
        refused += 1;
    }
    writeln!(out, "With one bit changed it is refused: {refused} of {} tried.", file.len())?;

    match judge(&other, ash) {
        Err(error) => writeln!(out, "A proof by somebody else: {error}.")?,
        Ok(_) => return Err("a proof by another authority was taken".into()),
    }
    Ok(())
}

/// The council's side: a log of some contracts, and a proof of one of them.
fn hand_over(name: &str, number: u8) -> Outcome<(AuthorityId, Vec<u8>)> {
    let mut council = Council::new(name, number)?;
    for (title, pence) in [("Library system", 400), ("Housing system", 1375), ("Payroll", 310)] {
        council.say(contract(title, name, "Quillfield Systems Ltd", pence, 14_610))?;
    }
    let housing = council.entries().get(1).ok_or("the log has three entries")?;
    Ok((council.authority(), council.prove(1, housing)?))
}

/// The auditor's side: `wanted` is known from elsewhere, such as a letter.
fn judge(file: &[u8], wanted: AuthorityId) -> Outcome<RecordFacts> {
    let proof = UnverifiedRecordProof::parse(file)?.verify(&[])?;
    if proof.authority() != wanted {
        return Err(format!("it is by {}", proof.identity().profile().name).into());
    }
    Ok(proof.facts())
}
