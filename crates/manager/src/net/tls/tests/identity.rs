//! Which names in a certificate are accepted, and which are refused.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use crate::net::tls::identity::{Identity, IdentityError};

/// An OID for a second attribute, because rcgen writes only one of each of its own types.
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];

fn identity(attributes: &[(DnType, &str)], uris: &[&str]) -> Result<(Arc<str>, Vec<String>), IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in attributes {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let Identity { user, groups, fingerprint } = Identity::from_certificate(certificate.der())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
    assert_eq!(fingerprint, digest.as_ref());
    Ok((user, groups))
}

#[test]
fn the_user_is_the_common_name_or_the_uri() {
    let check = |attributes: &[(DnType, &str)], uris: &[&str], user: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        assert_eq!(identity(attributes, uris), Ok((user.into(), groups)));
    };
    let alice = (DnType::CommonName, "alice");
    let ops = (DnType::OrganizationName, "ops");
    check(std::slice::from_ref(&alice), &[], "alice", &[]);
    check(&[ops.clone(), alice.clone()], &[], "alice", &["ops"]);
    check(&[alice.clone(), ops.clone()], &["spiffe://a/b"], "spiffe://a/b", &["ops"]);
    check(&[], &["spiffe://a/b"], "spiffe://a/b", &[]);
    for name in ["system:node:a", "oidc:alice", "kubernetes-admin", "CN=a/b", "urn", "urnen:1", "a/b", "a:b"]
    {
        check(&[(DnType::CommonName, name)], &[], name, &[]);
    }
    for uri in ["https://a/b", "URN:uuid:1", "spiffe://a"] {
        check(&[(DnType::CommonName, "urn:a")], &[uri], uri, &[]);
    }
    check(&[(DnType::CommonName, &"a".repeat(256))], &[], &"a".repeat(256), &[]);
}

#[test]
fn missing_invalid_and_ambiguous_names_are_refused() {
    let check = |attributes: &[(DnType, &str)], uris: &[&str], expected: IdentityError| {
        assert_eq!(identity(attributes, uris), Err(expected), "{attributes:?} {uris:?}");
    };
    let name = |name: &'static str| (DnType::CommonName, name);
    let group = |group: &'static str| (DnType::OrganizationName, group);
    let long = "a".repeat(257);
    let long_uri = format!("spiffe://{}", "a".repeat(2048));
    check(&[], &[], IdentityError::Nobody);
    check(&[group("ops")], &[], IdentityError::Nobody);
    check(&[name("")], &[], IdentityError::BadName("common name"));
    check(&[name("a\nb")], &[], IdentityError::BadName("common name"));
    check(&[name("a\0")], &[], IdentityError::BadName("common name"));
    check(&[(DnType::CommonName, &long)], &[], IdentityError::BadName("common name"));
    for uri in ["spiffe://a/b", "://", "urn:uuid:1", "URN:uuid:1"] {
        check(&[name(uri)], &[], IdentityError::UriInCommonName);
    }
    for uri in ["system:admin", "alice", "mailto:alice@a"] {
        check(&[name("a")], &[uri], IdentityError::NoUri);
    }
    check(&[name("a"), group("")], &[], IdentityError::BadName("organization"));
    check(&[name("a"), group("x\u{7f}")], &[], IdentityError::BadName("organization"));
    check(&[name("a")], &["spiffe://a", "spiffe://b"], IdentityError::Ambiguous("URIs"));
    check(&[], &[&long_uri], IdentityError::BadName("URI"));
    check(
        &[name("alice"), (DnType::CustomDnType(COMMON_NAME.to_vec()), "root")],
        &[],
        IdentityError::Ambiguous("common names"),
    );
}

#[test]
fn bytes_that_are_not_a_certificate_are_refused() {
    assert_eq!(Identity::from_certificate(b"no certificate"), Err(IdentityError::Damaged));
}
