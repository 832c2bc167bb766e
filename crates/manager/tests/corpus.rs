//! Checks the properties of fuzzing for all inputs that it has kept, with the regular compiler.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::print_stdout, reason = "shown only if a test fails: the last file is the cause")]

#[path = "../../../harness/fuzz/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

fn check(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../harness/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        property(&fs::read(file).unwrap());
    }
}

#[test]
fn identities() {
    check("identity", properties::identity);
}

#[test]
fn owners_of_counts() {
    check("managed_fields", properties::managed_fields);
}

#[test]
fn requests() {
    check("request", properties::request);
}

#[test]
fn settings_files() {
    check("settings_file", properties::settings_file);
}

#[test]
fn watches() {
    check("watch", properties::watch);
}
