//! Compares the recorded connections of the server's pods with the rules of the NetworkPolicy. This node does not
//! enforce it, but a cluster that does must allow all of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;

use super::{Step, passed};
use crate::connections::{Direction, Flow};
use crate::fixture::{Fixture, NAME};
use crate::output::say;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "connections",
    about: "all connections of the server's pods, checked against the NetworkPolicy",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let Some(connections) = &fixture.connections else {
        return Ok(Outcome::Skipped("connections can only be traced on the node".to_owned()));
    };
    let flows = connections.flows()?;
    let policy = Api::<NetworkPolicy>::namespaced(fixture.kubernetes.clone(), NAME).get(NAME).await?;
    let allowed = Allowed::of(policy)?;
    let mut refused = Vec::new();
    for flow in &flows {
        let word = if allowed.allows(flow) { "allowed" } else { "NOT ALLOWED" };
        say(&format!("    {}: {word}", describe(flow)));
        if !allowed.allows(flow) {
            refused.push(describe(flow));
        }
    }
    say(&format!("    rules: in {}; out {}", list(&allowed.ingress), list(&allowed.egress)));
    ensure!(refused.is_empty(), "the NetworkPolicy would block: {}", refused.join(", "));
    for direction in [Direction::In, Direction::Out] {
        ensure!(
            flows.iter().any(|flow| flow.direction == direction),
            "no connections observed: {direction:?}"
        );
    }
    Ok(passed(format!(
        "all allowed (not enforced here): {}",
        flows.iter().map(describe).collect::<Vec<_>>().join(", ")
    )))
}

fn describe(flow: &Flow) -> String {
    let Flow { direction, protocol, port, translated } = flow;
    let direction = match direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    if port == translated {
        format!("{direction} {protocol} {port}")
    } else {
        format!("{direction} {protocol} {port}→{translated}")
    }
}

/// Protocols and ports.
type Ports = BTreeSet<(String, i32)>;

fn list(ports: &Ports) -> String {
    ports.iter().map(|(protocol, port)| format!("{protocol} {port}")).collect::<Vec<_>>().join(", ")
}

/// The ports that a policy allows, for any peer.
struct Allowed {
    ingress: Ports,
    egress: Ports,
}

impl Allowed {
    fn of(policy: NetworkPolicy) -> Result<Self> {
        let spec = policy.spec.context("a policy has a spec")?;
        let (mut ingress, mut egress) = (Ports::new(), Ports::new());
        for rule in spec.ingress.into_iter().flatten() {
            ensure!(
                rule.from.is_none(),
                "rules with peers are not supported here; use the values of the chart"
            );
            add(&mut ingress, rule.ports)?;
        }
        for rule in spec.egress.into_iter().flatten() {
            ensure!(
                rule.to.is_none(),
                "rules with peers are not supported here; use the values of the chart"
            );
            add(&mut egress, rule.ports)?;
        }
        Ok(Self { ingress, egress })
    }

    /// Network plugins check before or after the address of a Service is translated, so outgoing connections need both
    /// ports. For incoming connections, the pod's own port counts.
    fn allows(&self, flow: &Flow) -> bool {
        let has = |ports: &Ports, port: u16| ports.contains(&(flow.protocol.clone(), i32::from(port)));
        match flow.direction {
            Direction::In => has(&self.ingress, flow.translated),
            Direction::Out => has(&self.egress, flow.port) && has(&self.egress, flow.translated),
        }
    }
}

fn add(ports: &mut Ports, rule: Option<Vec<NetworkPolicyPort>>) -> Result<()> {
    for port in rule.context("a rule without ports allows all of them")? {
        let protocol = port.protocol.unwrap_or_else(|| "TCP".to_owned());
        match (port.port, port.end_port) {
            (Some(IntOrString::Int(number)), None) => ports.insert((protocol, number)),
            other => bail!("only single port numbers are supported here, not {other:?}"),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_before_and_after_translation_must_be_allowed() {
        let ports = |ports: &[i32]| ports.iter().map(|port| ("TCP".to_owned(), *port)).collect();
        let allowed = Allowed { ingress: ports(&[8080]), egress: ports(&[443, 6443]) };
        let check = |direction, protocol: &str, port, translated, expected| {
            let flow = Flow { direction, protocol: protocol.to_owned(), port, translated };
            assert_eq!(allowed.allows(&flow), expected, "{flow:?}");
        };
        check(Direction::Out, "TCP", 443, 6443, true);
        check(Direction::Out, "TCP", 443, 8443, false);
        check(Direction::Out, "TCP", 80, 443, false);
        check(Direction::Out, "UDP", 443, 443, false);
        check(Direction::In, "TCP", 9000, 8080, true);
        check(Direction::In, "TCP", 8080, 9000, false);
    }
}
