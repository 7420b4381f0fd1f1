//! A record is proved to somebody who may not see all of it.
//!
//! A body commits to each of its fields by itself. So a holder can pass a record
//! on without a price: the reader sees that the field exists, that everything
//! shown is what the council signed, and cannot find the price by trying all
//! there are, because each field has a salt of its own and the withheld one's
//! is not in the file. No signature is made anew; the log head is the same.
//!
//! Run it with `cargo run -p tallystick-examples --example withhold_a_price`.

use std::io::Write;

use tallystick_protocol::body::Body;
use tallystick_protocol::entry::{Entry, UnverifiedEntry};
use tallystick_protocol::proof::record::{Disclosure, UnverifiedRecordProof};

use crate::Outcome;
use crate::council::{Council, contract};

/// The fields that are kept back.
fn secret(field: &str) -> bool {
    field.starts_with("value.") || field.contains(".unitPrice.")
}

/// Runs the example.
///
/// # Errors
/// If anything is not as the description says.
pub fn run(out: &mut dyn Write) -> Outcome {
    let name = "Ash Borough Council";
    let mut council = Council::new(name, 1)?;
    council.say(contract("Library system", name, "Merebrook Software Ltd", 400, 14_610))?;
    let index =
        council.say(contract("Housing system", name, "Quillfield Systems Ltd", 1375, 14_610))?;
    let entry = council.entries().last().ok_or("the log has two entries")?;

    let whole = council.prove(index, entry)?;
    let part = council.prove(index, &without_prices(entry)?)?;

    let all = UnverifiedRecordProof::parse(&whole)?.verify(&[])?.facts();
    let shown = UnverifiedRecordProof::parse(&part)?.verify(&[])?.facts();
    if (all.leaf, &all.header, &all.checkpoint) != (shown.leaf, &shown.header, &shown.checkpoint) {
        return Err("the two files do not prove the same entry".into());
    }
    if shown.disclosure != Disclosure::Partial || shown.withheld.is_empty() {
        return Err("nothing is withheld".into());
    }
    writeln!(out, "Both files prove entry {} of {name}.", shown.reference)?;
    for (field, value) in all.fields.iter() {
        let field = field.as_str();
        match shown.fields.get(field) {
            None if secret(field) => writeln!(out, "  {field:28} withheld")?,
            Some(seen) if seen == value && !secret(field) => {
                writeln!(out, "  {field:28} {}", all.fields.text(field).unwrap_or_default())?;
            }
            _ => return Err(format!("{field} is not as it should be").into()),
        }
    }
    let price = all.fields.get("items.0.unitPrice.amount").ok_or("there is a price")?;
    writeln!(
        out,
        "The price is {} bytes in one file and a digest under a salt that is not there in the other.",
        price.len(),
    )?;
    Ok(())
}

/// The same entry with a partial body: header, leaf and commitment stay.
fn without_prices(entry: &Entry) -> Outcome<Entry> {
    let Some(Body::Full(body)) = entry.body() else {
        return Err("only a holder of the full body can choose what to show".into());
    };
    let partial = Body::Partial(body.disclose(|field| !secret(field))?);
    let entry = UnverifiedEntry::new(entry.header_bytes().to_vec(), Some(partial.into_bytes()));
    Ok(entry.check()?)
}
