//! What is signed, by Standard Webhooks: <https://www.standardwebhooks.com/>.

/// The prefix of a secret, which is followed by base64.
pub const SECRET_PREFIX: &str = "whsec_";
/// The prefix of a signature, which is followed by base64.
pub const SIGNATURE_PREFIX: &str = "v1,";
/// How many bytes a secret may have.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The bytes whose HMAC-SHA256 is the signature. `seconds` is the time of the attempt since 1970.
pub fn signed(id: &str, seconds: i64, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", seconds.to_string().as_bytes(), b".", body].concat()
}
