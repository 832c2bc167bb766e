//! Shows the state of the cluster after a failed step.

use crate::fixture::{APPS, Fixture, NAME};
use crate::output::say;

/// How many of the last lines are shown.
const LINES: &str = "40";

impl Fixture {
    /// Shows pods, events and logs. Errors are only printed, so they cannot hide the original failure.
    pub(crate) async fn show_diagnostics(&self) {
        for namespace in [NAME, APPS] {
            self.show(&[
                "get",
                "deployments,pods,persistentvolumeclaims",
                "--namespace",
                namespace,
                "-o",
                "wide",
            ])
            .await;
            self.show(&["events", "--namespace", namespace, "--types", "Warning"]).await;
        }
        let deployment = format!("deployment/{NAME}");
        self.show(&["logs", "--namespace", NAME, "--all-containers", "--tail", LINES, &deployment]).await;
    }

    async fn show(&self, arguments: &[&str]) {
        say(&format!("    $ kubectl {}", arguments.join(" ")));
        let words = [&["kubectl"], arguments].concat();
        let output = self.programs.run(words).await.unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<&str> = output.lines().collect();
        let limit = LINES.parse().unwrap_or(usize::MAX);
        for line in &lines[lines.len().saturating_sub(limit)..] {
            say(&format!("    {line}"));
        }
    }
}
