//! References to images.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};

/// `NAME:TAG` or `NAME@sha256:DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) version: Version,
}

/// The version of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tag(String),
    /// Including the algorithm.
    Digest(String),
}

impl Image {
    /// Its values for our chart, and for most others. The empty one overrides a value that an upgrade would reuse.
    pub(crate) fn values(&self) -> [String; 3] {
        let (tag, digest) = match &self.version {
            Version::Tag(tag) => (tag.as_str(), ""),
            Version::Digest(digest) => ("", digest.as_str()),
        };
        let value = |key: &str, value: &str| format!("image.{key}={value}");
        [value("repository", &self.repository), value("tag", tag), value("digest", digest)]
    }
}

impl FromStr for Image {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((repository, digest)) = text.split_once('@') {
            return Ok(Self {
                repository: repository.to_owned(),
                version: Version::Digest(digest.to_owned()),
            });
        }
        match text.rsplit_once(':') {
            // A colon before the last slash belongs to a port.
            Some((repository, tag)) if !tag.contains('/') && !repository.is_empty() => {
                Ok(Self { repository: repository.to_owned(), version: Version::Tag(tag.to_owned()) })
            }
            _ => bail!("an image is NAME:TAG or NAME@sha256:DIGEST"),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(formatter, "{}:{tag}", self.repository),
            Version::Digest(digest) => write!(formatter, "{}@{digest}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_tag_or_a_digest() {
        let check = |text: &str, repository: &str, version: Version| {
            let image: Image = text.parse().unwrap();
            assert_eq!((image.repository.as_str(), &image.version), (repository, &version));
            assert_eq!(image.to_string(), text);
        };
        check("a:1", "a", Version::Tag("1".to_owned()));
        check("host:5000/a:1", "host:5000/a", Version::Tag("1".to_owned()));
        check("host:5000/a@sha256:f", "host:5000/a", Version::Digest("sha256:f".to_owned()));
        for wrong in ["a", "host:5000/a", ":1"] {
            assert!(wrong.parse::<Image>().is_err(), "{wrong}");
        }
    }
}
