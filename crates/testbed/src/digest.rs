//! Short names for long texts.

use std::fmt::Write as _;

use aws_lc_rs::digest;

/// 16 hexadecimal digits that no other text has, as far as anyone will see.
pub fn short(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).fold(String::new(), |mut short, byte| {
        let _ = write!(short, "{byte:02x}");
        short
    })
}
