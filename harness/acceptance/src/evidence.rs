//! What a person wants to see of the cluster when a step has failed.

use crate::output::say;
use crate::stage::{APPS, NAME, Stage};

/// The last lines of logs and events that are shown.
const LINES: &str = "40";

impl Stage {
    /// Shows pods, events and logs. Nothing here may hide the failure itself.
    pub(crate) async fn show_evidence(&self) {
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
        let said = self.programs.run(words).await.unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<&str> = said.lines().collect();
        let most = LINES.parse().unwrap_or(usize::MAX);
        for line in &lines[lines.len().saturating_sub(most)..] {
            say(&format!("    {line}"));
        }
    }
}
