//! Apart from the unit tests, as it starts processes: for a moment, those have what other tests have open, locks included.

use replica_count_faults::mutants;

#[test]
fn every_patch_applies_and_says_what_it_does_and_what_catches_it() {
    assert!(mutants::check().unwrap() >= 31);
}
