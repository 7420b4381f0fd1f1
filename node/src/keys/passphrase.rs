//! Secrets under a passphrase: argon2id makes a key of it, and
//! XChaCha20-Poly1305 seals the secret with that.
//!
//! What makes guessing slow ([`Cost`]) is stated beside the sealed secret and
//! bounded before any memory is taken: a file cannot make its reader use more
//! than [`Cost::MOST_KIB`] or wait for minutes.
//!
//! **Invariants:** passphrase, derived key and the memory it was made in are
//! wiped; nothing here prints them. Deliberately absent: files, see
//! [`super::file`], and asking people.

use std::fmt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use zeroize::{Zeroize as _, Zeroizing};

use super::file::{Seed, read_bounded, refuse_shared};
use crate::failure::Failure;

/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES: u64 = 1024;
/// Bytes of a salt.
pub(super) const SALT: usize = 16;
/// Bytes of a nonce.
pub(super) const NONCE: usize = 24;
/// Bytes of a sealed seed: it and its tag.
pub(super) const SEALED: usize = 48;

/// A passphrase that is not empty; wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// From what somebody typed; `None` if that is nothing.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// Reads the first line of a file.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be read, others may read it, or its
    /// first line is empty.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |why: &dyn fmt::Display| {
            Failure::usage(
                format!("no passphrase can be read from {} ({why})", path.display()),
                "give a file whose first line is the passphrase",
            )
        };
        // A pipe has no rights worth checking.
        if path.is_file() {
            refuse_shared(path).map_err(|error| unreadable(&error))??;
        }
        let bytes = read_bounded(path, PASSPHRASE_BYTES).map_err(|error| unreadable(&error))?;
        let bytes = Zeroizing::new(bytes);
        let text = str::from_utf8(&bytes).map_err(|error| unreadable(&error))?;
        let line = text.lines().next().unwrap_or_default();
        Self::new(Zeroizing::new(line.to_owned())).ok_or_else(|| unreadable(&"it is empty"))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What one guess costs: argon2id's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes it is divided into.
    pub lanes: u32,
}

impl Cost {
    /// The second recommendation of RFC 9106 section 4, for machines of any size.
    pub const USUAL: Self = Self { kib: 64 << 10, passes: 3, lanes: 4 };
    /// Most memory that is taken for a file, in KiB.
    pub const MOST_KIB: u32 = 1 << 20;
    const MOST_PASSES: u32 = 16;
    const MOST_LANES: u32 = 8;

    /// argon2's own form, if these are parameters that anybody needs.
    fn params(self) -> Option<Params> {
        let bounded = self.kib <= Self::MOST_KIB
            && self.passes <= Self::MOST_PASSES
            && self.lanes <= Self::MOST_LANES;
        bounded.then(|| Params::new(self.kib, self.passes, self.lanes, Some(32)).ok()).flatten()
    }
}

/// A seed as it lies under a passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) cost: Cost,
    pub(super) salt: [u8; SALT],
    pub(super) nonce: [u8; NONCE],
    pub(super) bytes: [u8; SEALED],
}

/// Seals a seed, and binds it to `context`, which is not secret: it is made of
/// what is decided here, cost, salt and nonce, and of whatever the caller adds.
pub(super) fn seal(
    seed: &Seed,
    passphrase: &Passphrase,
    cost: Cost,
    context: impl FnOnce(&Sealed) -> String,
) -> Result<Sealed, Failure> {
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| {
            Failure::internal(format!("the system gives no random numbers ({error})"))
        })
    };
    let mut sealed = Sealed { cost, salt: [0; SALT], nonce: [0; NONCE], bytes: [0; SEALED] };
    random(&mut sealed.salt)?;
    random(&mut sealed.nonce)?;
    let unusable = || Failure::internal("argon2id does not take these parameters");
    let cipher = cipher(&sealed, passphrase).ok_or_else(unusable)?;
    let mut buffer = seed.clone();
    let context = context(&sealed);
    let tag = cipher
        .encrypt_in_place_detached(&sealed.nonce.into(), context.as_bytes(), buffer.as_mut_slice())
        .map_err(|_| Failure::internal("the key cannot be encrypted"))?;
    let whole = buffer.iter().chain(tag.iter());
    sealed.bytes.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
    Ok(sealed)
}

/// Opens what [`seal`] made; `None` if the passphrase or `context` is another,
/// or a bit was changed.
pub(super) fn open(sealed: &Sealed, passphrase: &Passphrase, context: &str) -> Option<Seed> {
    let cipher = cipher(sealed, passphrase)?;
    let (secret, tag) = sealed.bytes.split_first_chunk::<32>()?;
    let tag: [u8; 16] = tag.try_into().ok()?;
    let mut seed = Seed::new(*secret);
    cipher
        .decrypt_in_place_detached(
            &sealed.nonce.into(),
            context.as_bytes(),
            seed.as_mut_slice(),
            &tag.into(),
        )
        .ok()?;
    Some(seed)
}

fn cipher(sealed: &Sealed, passphrase: &Passphrase) -> Option<XChaCha20Poly1305> {
    let params = sealed.cost.params()?;
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Seed::new([0; 32]);
    let made = argon2.hash_password_into_with_memory(
        passphrase.0.as_bytes(),
        &sealed.salt,
        key.as_mut_slice(),
        &mut memory,
    );
    memory.zeroize();
    made.ok()?;
    Some(XChaCha20Poly1305::new((&*key).into()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// For tests, which have nothing to hide: the least that argon2id takes.
    pub(crate) const CHEAP: Cost = Cost { kib: 32, passes: 1, lanes: 4 };

    pub(crate) fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn only_the_same_passphrase_and_context_open_a_seed() {
        let seed = Seed::new([7; 32]);
        let sealed =
            seal(&seed, &passphrase("correct horse"), CHEAP, |_| "here".to_owned()).unwrap();
        assert_eq!(open(&sealed, &passphrase("correct horse"), "here"), Some(seed.clone()));
        assert_eq!(open(&sealed, &passphrase("correct horse "), "here"), None);
        assert_eq!(open(&sealed, &passphrase("correct horse"), "there"), None);
        let again =
            seal(&seed, &passphrase("correct horse"), CHEAP, |_| "here".to_owned()).unwrap();
        assert_ne!((again.salt, again.nonce), (sealed.salt, sealed.nonce));
        for bit in 0..SEALED * 8 {
            let mut changed = sealed.clone();
            changed.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&changed, &passphrase("correct horse"), "here"), None, "bit {bit}");
        }
    }

    #[test]
    fn costs_beyond_the_bounds_are_refused_before_memory_is_taken() {
        let usual = Cost::USUAL;
        assert!(usual.params().is_some());
        for cost in [
            Cost { kib: Cost::MOST_KIB + 1, ..usual },
            Cost { kib: u32::MAX, ..usual },
            Cost { passes: 17, ..usual },
            Cost { lanes: 9, ..usual },
            Cost { passes: 0, ..usual },
            Cost { lanes: 0, ..usual },
            Cost { kib: 0, ..usual },
        ] {
            assert!(cost.params().is_none(), "{cost:?}");
            let sealed = Sealed { cost, salt: [0; SALT], nonce: [0; NONCE], bytes: [0; SEALED] };
            assert_eq!(open(&sealed, &passphrase("x"), ""), None);
        }
    }

    #[test]
    fn passphrases_are_read_from_the_first_line_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("phrase");
        let write = |text: &str| {
            let _old = std::fs::remove_file(&file);
            super::super::file::write_new(&file, text.as_bytes()).unwrap();
        };
        write("correct horse\nbattery\n");
        let read = Passphrase::read(&file).unwrap();
        assert_eq!(read.0.as_str(), "correct horse");
        assert!(!format!("{read:?}").contains("horse"));
        for bad in ["", "\nsecond line\n", &"x".repeat(2000)] {
            write(bad);
            assert_eq!(Passphrase::read(&file).unwrap_err().kind.exit_code(), 2, "{bad:?}");
        }
        assert!(Passphrase::read(&dir.path().join("none")).is_err());
    }
}
