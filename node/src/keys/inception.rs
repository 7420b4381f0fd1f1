//! A new authority: its keys, its first event, its configuration.
//!
//! **Invariant:** the identity is written last, so a directory that has one is
//! complete. Deliberately absent: any later event, see the modules beside this.

use std::fs;
use std::io;
use std::path::Path;

use serde_bytes::ByteBuf;
use tallystick_protocol::cbor;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{
    Controllers, Event, Identity, NextControllers, Profile, SealingKey, UnverifiedChain,
    WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::time::UnixTime;

use super::file::{Purpose, Seed, key_file, make_dir, sync_dir, write_new};
use super::{IDENTITY_FILE, KEYS_DIR};
use crate::config::{CONFIG_FILE, Config, Place};
use crate::failure::Failure;

/// HPKE KEM identifier of DHKEM(X25519, HKDF-SHA256): RFC 9180 section 7.1.
const KEM_X25519: u16 = 0x0020;

/// Makes keys, identity and configuration of a new authority at `place`.
///
/// # Errors
/// A [`Failure`] if something is there already, the profile breaks a rule of
/// the identity format, or a file cannot be written. A directory that was left
/// half made is refused by the next attempt, with a word on what to do.
pub fn create(
    place: &Place,
    network: &NetworkName,
    profile: Profile,
    issued: UnixTime,
) -> Result<Identity, Failure> {
    refuse_existing(place)?;
    let seeds = Purpose::ALL.map(|purpose| (purpose, Seed::new([0; 32])));
    let mut seeds = Vec::from(seeds);
    for (_, seed) in &mut seeds {
        getrandom::fill(seed.as_mut_slice()).map_err(|error| {
            Failure::internal(format!("the system gives no random numbers ({error})"))
        })?;
    }
    let (identity, events) = incept(&seeds, network, profile, issued)?;

    let data = place.data();
    let keys = data.join(KEYS_DIR);
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| {
            Failure::usage(
                format!("{path} cannot be written ({error})"),
                "name a directory that you may write to with --data DIR",
            )
        }
    };
    make_dir(data).map_err(failed(data))?;
    make_dir(&keys).map_err(failed(&keys))?;
    for (purpose, seed) in &seeds {
        let path = keys.join(purpose.file());
        write_new(&path, key_file(*purpose, seed).as_bytes()).map_err(failed(&path))?;
    }
    sync_dir(&keys).map_err(failed(&keys))?;
    if !place.config().exists() {
        let text = Config::template(network);
        write_new(place.config(), text.as_bytes()).map_err(failed(place.config()))?;
    }
    // Last: a directory with an identity is complete.
    let path = data.join(IDENTITY_FILE);
    write_new(&path, &events).map_err(failed(&path))?;
    sync_dir(data).map_err(failed(data))?;
    Ok(identity)
}

fn refuse_existing(place: &Place) -> Result<(), Failure> {
    let data = place.data();
    let known =
        |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == CONFIG_FILE);
    // A configuration that was put there beforehand is used, not overwritten.
    match fs::read_dir(data).map(|mut entries| entries.all(known)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(true) => Ok(()),
        Ok(_) if data.join(IDENTITY_FILE).exists() => Err(Failure::usage(
            format!("there is an authority in {} already", data.display()),
            "start it with `tally run`, or name another directory with --data DIR",
        )),
        Ok(_) => Err(Failure::usage(
            format!("{} is not empty", data.display()),
            "name a new directory with --data DIR, or empty this one if an earlier attempt was interrupted",
        )),
        Err(error) => Err(Failure::usage(
            format!("{} cannot be read ({error})", data.display()),
            "name a directory that you may write to with --data DIR",
        )),
    }
}

/// Builds, signs and checks the inception event; gives it as the file keeps it, too.
fn incept(
    seeds: &[(Purpose, Seed)],
    network: &NetworkName,
    profile: Profile,
    issued: UnixTime,
) -> Result<(Identity, Vec<u8>), Failure> {
    let seed = |wanted: Purpose| {
        let found = seeds.iter().find(|(purpose, _)| *purpose == wanted);
        found.map(|(_, seed)| seed).ok_or_else(|| Failure::internal("a key was not made"))
    };
    let key = |purpose: Purpose| seed(purpose).map(|seed| SecretKey::from_seed(**seed));
    let controller = key(Purpose::Controller)?;
    let next = commit_to_key(&key(Purpose::NextController)?.public());
    let sealing =
        x25519_dalek::x25519(**seed(Purpose::Sealing)?, x25519_dalek::X25519_BASEPOINT_BYTES);
    let event = Event::inception(
        network.clone(),
        issued,
        Controllers { keys: vec![controller.public()], threshold: 1 },
        NextControllers { key_hashes: vec![next], threshold: 1 },
        WorkingKeys {
            log: key(Purpose::Log)?.public(),
            witness: key(Purpose::Witness)?.public(),
            nodes: vec![key(Purpose::Node)?.public()],
            sealing: SealingKey { kem: KEM_X25519, key: ByteBuf::from(sealing.to_vec()) },
        },
        profile,
    );
    let signed = event.sign(&[(0, &controller)]).map_err(Failure::internal)?;
    let identity = UnverifiedChain::new(vec![signed]).verify(network).map_err(|error| {
        Failure::usage(error, "correct the name, identifiers or domain and try again")
    })?;
    let events: Vec<_> = identity.events().iter().cloned().map(ByteBuf::from).collect();
    Ok((identity, cbor::encode(&events).map_err(Failure::internal)?))
}
