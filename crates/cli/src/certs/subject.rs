//! The subject of a user: a common name and any number of organizations.
//!
//! rcgen writes at most one attribute of each type into a name, but a user may be in several groups. So the subject is
//! encoded here, put into the certificate that rcgen created, and the certificate is signed again.

use rcgen::{Certificate, KeyPair, SigningKey};
use yasna::DERWriter;
use yasna::models::ObjectIdentifier;

use super::error::CertsError;
use super::name::Group;

const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, extensions
const TBS_FIELDS: usize = 8;
const SUBJECT: usize = 5;

/// The certificate, as PEM, with another subject and a new signature by `issuer_key`.
pub(super) fn replace(
    certificate: &Certificate,
    name: &str,
    groups: &[Group],
    issuer_key: &KeyPair,
) -> Result<String, CertsError> {
    let (mut fields, algorithm) = split(certificate.der());
    fields[SUBJECT] = encode(name, groups);
    let to_be_signed = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| fields.iter().for_each(|field| writer.next().write_der(field)));
    });
    let signature = issuer_key.sign(&to_be_signed)?;
    let der = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&to_be_signed);
            writer.next().write_der(&algorithm);
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Ok(pem::encode_config(&pem::Pem::new("CERTIFICATE", der), lines))
}

/// The fields of the TBSCertificate, and the signature's algorithm.
fn split(certificate: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|reader| {
            let fields = reader.next().read_sequence(|reader| {
                (0..TBS_FIELDS).map(|_| reader.next().read_der()).collect::<Result<Vec<_>, _>>()
            })?;
            let algorithm = reader.next().read_der()?;
            reader.next().read_bitvec_bytes()?;
            Ok((fields, algorithm))
        })
    })
    .expect("rcgen writes valid DER with all eight fields of a version 3 certificate")
}

fn encode(name: &str, groups: &[Group]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for group in groups {
                write_attribute(writer.next(), &ORGANIZATION, group.as_str());
            }
            write_attribute(writer.next(), &COMMON_NAME, name);
        });
    })
}

fn write_attribute(writer: DERWriter<'_>, kind: &[u64], value: &str) {
    writer.write_set(|writer| {
        writer.next().write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(kind));
            writer.next().write_utf8_string(value);
        });
    });
}
