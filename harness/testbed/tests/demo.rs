//! The demo must play to its end: it is the first thing that a person sees.

use std::process::Command;

#[test]
fn the_demo_plays_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_testbed")).arg("demo").output().unwrap();
    let story = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{story}\n{}", String::from_utf8_lossy(&output.stderr));
    for expected in
        ["1. A team sets", "who: kubectl (Update of scale)", "who: helm (Update)", "6. The team deletes"]
    {
        assert!(story.contains(expected), "no {expected:?} in\n{story}");
    }
}
