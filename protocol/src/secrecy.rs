//! That nothing which holds a secret prints it, whoever formats it for a log line.
//!
//! A type that comes to hold a secret belongs into the list below.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::body::{Fields, FullBody, Salt};
use crate::group::epoch;
use crate::group::invitation::tests::invitation_with;
use crate::group::seal::{EpochSecret, SealingSecret, Suite};
use crate::id::{AuthorityId, EpochId, GroupId, NetworkName, NodeId};
use crate::identity::PinSalt;
use crate::key::SecretKey;
use crate::sync;
use crate::time::UnixTime;

/// Bytes that stand nowhere by chance.
const SECRET: [u8; 32] = *b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\
    \x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";

/// What in `printed` gives a part of the secret away: in hex, in base64 or as a list
/// of numbers, on however many lines, or as text.
fn found(printed: &str, secret: &[u8]) -> Option<String> {
    let printed: String = printed.split_whitespace().collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let list = |bytes: &[u8], form: fn(&u8) -> String| {
        bytes.iter().map(form).collect::<Vec<_>>().join(",")
    };
    let mut spellings = Vec::new();
    // Any six bytes of it; three of them make four characters of base64.
    for part in secret.windows(6) {
        spellings.extend([
            hex(part),
            hex(part).to_uppercase(),
            list(part, u8::to_string),
            list(part, |byte| format!("0x{byte:02x}")),
            STANDARD.encode(part),
            String::from_utf8_lossy(part).into_owned(),
        ]);
    }
    spellings.into_iter().find(|spelling| printed.contains(spelling.as_str()))
}

fn prints(value: &dyn Debug) -> String {
    format!("{value:?}\n{value:#?}")
}

#[test]
fn the_search_finds_what_is_printed() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "it is there to be printed")]
    struct Careless([u8; 32]);
    assert!(found(&prints(&Careless(SECRET)), &SECRET).is_some());
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(found(&hex, &SECRET).is_some());
    for skipped in 0..3 {
        assert!(found(&STANDARD.encode(&SECRET[skipped..]), &SECRET).is_some());
    }
    assert!(found("SecretKey(..)", &SECRET).is_none());
}

#[test]
fn no_type_that_holds_a_secret_prints_it() {
    let network: NetworkName = "test".parse().unwrap();
    let (group, epoch) = (GroupId::from_bytes([1; 32]), EpochId::from_bytes([2; 32]));
    let key = SecretKey::from_seed(SECRET);
    let secret = EpochSecret::from_bytes(SECRET);
    let body_key = secret.body_key(&network, &group, epoch);
    let invitation = invitation_with(&key);
    let read =
        crate::group::invitation::UnverifiedInvitation::parse(&invitation.to_line(), &network);
    let mut fields = Fields::new();
    fields.insert("title", &"Made-up contract".into()).unwrap();
    let salt = Salt::from_random(SECRET);
    let body = FullBody::new(&salt, &fields).unwrap().0;
    let config = sync::Config {
        network,
        authority: AuthorityId::from_bytes([3; 32]),
        log_key: key.clone(),
        generation: 0,
        node: NodeId::try_from(SecretKey::from_seed([4; 32]).public().as_bytes()).unwrap(),
        run: [5; 16],
        started: UnixTime::from_seconds(6),
        own_head_answers: 0,
        sign_alone: false,
    };
    let values: [&dyn Debug; 12] = [
        &key,
        &SealingSecret::from_seed(Suite::X25519, SECRET),
        &SealingSecret::from_seed(Suite::XWing, SECRET),
        &secret,
        &body_key,
        &epoch::tests::ring_of(epoch, secret.clone()),
        &PinSalt::new(SECRET),
        &salt,
        &body,
        &invitation,
        &read.unwrap(),
        &config,
    ];
    for value in values {
        let printed = prints(value);
        assert_eq!(found(&printed, &SECRET), None, "{printed}");
    }
}
