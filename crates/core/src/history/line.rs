//! How an entry is stored: a line of its CRC-32, in 8 hexadecimal digits, a space, and the entry as JSON.
//!
//! A line that was not written completely, or has changed since, is recognised and left out. The lines around it are
//! still read.

use super::entry::Entry;

/// Digits of the checksum and the space.
const PREFIX_BYTES: usize = 9;
/// The polynomial of CRC-32 (IEEE 802.3), reversed.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// What is left of stored entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The whole entries, in the order of the lines.
    pub entries: Vec<Entry>,
    /// How many lines within the text cannot be read.
    pub damaged: usize,
    /// Whether the text ends within a line.
    pub is_torn: bool,
}

/// Appends the line of an entry.
pub fn encode(entry: &Entry, text: &mut Vec<u8>) {
    let json = serde_json::to_string(entry).expect("it has no maps and no errors of its own");
    text.extend_from_slice(format!("{:08x} {json}\n", checksum(json.as_bytes())).as_bytes());
}

/// Reads lines, of which some may be damaged.
pub fn decode(text: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            None => decoded.is_torn = true,
            Some(line) => match entry(line) {
                Some(entry) => decoded.entries.push(entry),
                None => decoded.damaged += 1,
            },
        }
    }
    decoded
}

fn entry(line: &[u8]) -> Option<Entry> {
    let (prefix, json) = line.split_at_checked(PREFIX_BYTES)?;
    let digits = str::from_utf8(prefix.strip_suffix(b" ")?).ok()?;
    let is_whole = u32::from_str_radix(digits, 16).ok()? == checksum(json);
    is_whole.then(|| serde_json::from_slice(json).ok())?
}

/// The CRC-32 of these bytes.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc: u32, byte| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }
}
