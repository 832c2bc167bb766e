//! Separate from the unit tests, because it starts processes, which briefly inherit the open files and locks of other
//! tests.

use replica_count_faults::mutants;

#[test]
fn every_patch_applies_and_has_a_valid_header() {
    assert!(mutants::check().unwrap() >= 31);
}
