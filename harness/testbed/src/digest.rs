//! Digests of texts and files.

use std::fmt::Write as _;

use aws_lc_rs::digest;

/// 16 hexadecimal digits of the SHA-256 of a text, unique for all practical purposes.
pub fn short(text: &str) -> String {
    hexadecimal(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..8])
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
