//! The vectors of RFC 9180, appendix A, for the suite that sealed secrets use:
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, in all modes.
//!
//! Of the suites in the file this is the one that `group::seal` has. X-Wing is not
//! part of the RFC; its vectors are those of `x-wing` and our own in `protocol/vectors`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

mod shared_data;

use std::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{
    Deserializable as _, Kem, OpModeR, OpModeS, PskBundle, Serializable as _, setup_receiver,
    setup_sender_with_rng,
};
use serde_json::Value;
use shared_data::{json, suite};
use tallystick_protocol::group::seal::{SealingSecret, Suite};

type K = X25519HkdfSha256;
type Keys = (<K as Kem>::PrivateKey, <K as Kem>::PublicKey);

/// Gives the bytes of `ikmE`, as if they were random.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("HPKE asks for bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("HPKE asks for bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default().as_bytes();
    let digits = text.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn keys(setup: &Value, ikm: &str) -> Keys {
    K::derive_keypair(&hex(&setup[ikm]))
}

/// Seals and opens everything of one case; how many messages that were.
fn check(case: &Value) -> usize {
    let setup = &case["setup"];
    let (psk, psk_id) = (hex(&setup["psk"]), hex(&setup["psk_id"]));
    let psk = || PskBundle::new(&psk, &psk_id).unwrap();
    let sender = || keys(setup, "ikmS");
    let (secret, public) = keys(setup, "ikmR");
    let (seal, open) = match setup["mode"].as_str().unwrap() {
        "0" => (OpModeS::<K>::Base, OpModeR::<K>::Base),
        "1" => (OpModeS::Psk(psk()), OpModeR::Psk(psk())),
        "2" => (OpModeS::Auth(sender()), OpModeR::Auth(sender().1)),
        _ => (OpModeS::AuthPsk(sender(), psk()), OpModeR::AuthPsk(sender().1, psk())),
    };
    assert_eq!(public.to_bytes().to_vec(), hex(&setup["pkRm"]));
    let mut ours = [0; 32];
    ours.copy_from_slice(&hex(&setup["skRm"]));
    let ours = SealingSecret::from_seed(Suite::X25519, ours).public().unwrap();
    assert_eq!(
        (ours.kem.to_string(), ours.key.to_vec()),
        (setup["kem_id"].as_str().unwrap().to_owned(), hex(&setup["pkRm"]),)
    );
    let info = hex(&setup["info"]);
    let mut random = Given(hex(&setup["ikmE"]));
    let made = setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &seal,
        &public,
        &info,
        &mut random,
    );
    let (encapsulated, mut sender) = made.unwrap();
    assert_eq!(encapsulated.to_bytes().to_vec(), hex(&setup["enc"]));
    let encapsulated = <K as Kem>::EncappedKey::from_bytes(&hex(&setup["enc"])).unwrap();
    let mut receiver =
        setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(&open, &secret, &encapsulated, &info)
            .unwrap();
    let messages = case["encryptions"].as_array().unwrap();
    let mut sequence = 0;
    for message in messages {
        let (plain, aad) = (hex(&message["pt"]), hex(&message["aad"]));
        let wanted: u64 = message["sequence number"].as_str().unwrap().parse().unwrap();
        // Those in between are not listed, but count.
        while sequence < wanted {
            let skipped = sender.seal(b"", b"").unwrap();
            receiver.open(&skipped, b"").unwrap();
            sequence += 1;
        }
        let sealed = sender.seal(&plain, &aad).unwrap();
        assert_eq!(sealed, hex(&message["ct"]), "{wanted}");
        assert_eq!(receiver.open(&sealed, &aad).unwrap(), plain);
        sequence += 1;
    }
    messages.len()
}

#[test]
fn rfc_9180_vectors_hold() {
    let Some(dir) = suite("hpke") else { return };
    let cases = json(&dir.join("rfc9180-appendix-a.json"));
    let ours = |case: &&Value| {
        let setup = &case["setup"];
        [&setup["kem_id"], &setup["kdf_id"], &setup["aead_id"]] == ["32", "1", "3"]
    };
    let cases: Vec<&Value> = cases.as_array().unwrap().iter().filter(ours).collect();
    assert_eq!(cases.len(), 4, "one for each mode");
    assert_eq!(cases.into_iter().map(check).sum::<usize>(), 24);
}
