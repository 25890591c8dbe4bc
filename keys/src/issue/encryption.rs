//! Encrypting to recipients and opening again, for the values that a site keeps (armored) and for seals (binary).

use crate::identity::{NodeIdentity, Recipient};
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use std::io::{Read as _, Write as _};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why something could not be encrypted.
#[derive(Debug, Error)]
pub enum EncryptFailed {
    /// There are no recipients, so the result could not be opened again.
    #[error("there is no recipient to encrypt to")]
    NoRecipient,
    /// The encryption failed; holds the error of the `age` crate.
    #[error("encrypting failed: {0}")]
    Failed(String),
}

/// Why a file could not be decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecryptFailed {
    /// Not an age file, binary or armored.
    #[error("it is not an age file")]
    NotAge,
    /// It is not encrypted to this public key.
    #[error("it is not encrypted to {0}")]
    NotForThisKey(Recipient),
    /// It was changed or cut after it was encrypted.
    #[error("it is damaged")]
    Damaged,
}

/// Encrypts `plain` to all of `recipients`, as a binary age file.
pub fn encrypt(recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>, EncryptFailed> {
    encrypt_as(Format::Binary, recipients, plain)
}

/// Encrypts `plain` to all of `recipients`, as an armored age file: text that a version control system can carry.
pub fn encrypt_armored(recipients: &[Recipient], plain: &[u8]) -> Result<String, EncryptFailed> {
    let bytes = encrypt_as(Format::AsciiArmor, recipients, plain)?;
    String::from_utf8(bytes).map_err(|error| EncryptFailed::Failed(error.to_string()))
}

fn encrypt_as(format: Format, recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>, EncryptFailed> {
    let all = recipients.iter().map(|recipient| -> &dyn age::Recipient { recipient.as_age() });
    let encryptor = age::Encryptor::with_recipients(all).map_err(|error| match error {
        age::EncryptError::MissingRecipients => EncryptFailed::NoRecipient,
        other => EncryptFailed::Failed(other.to_string()),
    })?;
    let write = || -> std::io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::new(), format)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()
    };
    write().map_err(|error| EncryptFailed::Failed(error.to_string()))
}

/// Opens an age file, binary or armored, with `identity`.
pub fn decrypt(identity: &NodeIdentity, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptFailed> {
    let problem = |error: age::DecryptError| match error {
        age::DecryptError::NoMatchingKeys => DecryptFailed::NotForThisKey(identity.recipient()),
        age::DecryptError::UnknownFormat | age::DecryptError::Io(_) => DecryptFailed::NotAge,
        _ => DecryptFailed::Damaged,
    };
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(file)).map_err(problem)?;
    let identities = std::iter::once::<&dyn age::Identity>(identity.as_age());
    let mut reader = decryptor.decrypt(identities).map_err(problem)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(file.len()));
    reader.read_to_end(&mut plain).map_err(|_| DecryptFailed::Damaged)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::identity_file::generate;

    #[test]
    fn only_recipients_can_decrypt() {
        let (node, admin, other) = (generate(), generate(), generate());
        let recipients = [node.recipient(), admin.recipient()];
        let armored = encrypt_armored(&recipients, b"value").unwrap();
        assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
        let binary = encrypt(&recipients, b"value").unwrap();
        for file in [armored.as_bytes(), &binary] {
            assert_eq!(**decrypt(&node, file).unwrap(), *b"value");
            assert_eq!(**decrypt(&admin, file).unwrap(), *b"value");
            assert_eq!(decrypt(&other, file).unwrap_err(), DecryptFailed::NotForThisKey(other.recipient()));
        }
    }

    #[test]
    fn damage_and_foreign_files_have_different_errors() {
        let node = generate();
        let mut file = encrypt(&[node.recipient()], b"value").unwrap();
        assert_eq!(decrypt(&node, b"hello").unwrap_err(), DecryptFailed::NotAge);
        *file.last_mut().unwrap() ^= 1;
        assert_eq!(decrypt(&node, &file).unwrap_err(), DecryptFailed::Damaged);
        assert!(matches!(encrypt(&[], b"value"), Err(EncryptFailed::NoRecipient)));
    }
}
