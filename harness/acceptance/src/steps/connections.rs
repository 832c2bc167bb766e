//! What the server's pods were seen to connect to, and who to them, beside the rules of the NetworkPolicy. The node here
//! does not enforce it; a cluster that does must let through all of this.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;

use super::{Step, passed};
use crate::connections::{Direction, Flow};
use crate::output::say;
use crate::stage::{NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "connections",
    about: "all that the server's pods connected to, beside the rules of the NetworkPolicy",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    let Some(connections) = &stage.connections else {
        return Ok(Outcome::Skipped("connections are seen only on the node".to_owned()));
    };
    let flows = connections.flows()?;
    let policy = Api::<NetworkPolicy>::namespaced(stage.kubernetes.clone(), NAME).get(NAME).await?;
    let allowed = Allowed::of(policy)?;
    let mut refused = Vec::new();
    for flow in &flows {
        let word = if allowed.allows(flow) { "allowed" } else { "NOT ALLOWED" };
        say(&format!("    seen {}: {word}", describe(flow)));
        if !allowed.allows(flow) {
            refused.push(describe(flow));
        }
    }
    say(&format!("    rules: in {}; out {}", list(&allowed.ingress), list(&allowed.egress)));
    ensure!(refused.is_empty(), "the NetworkPolicy would not let through: {}", refused.join(", "));
    for direction in [Direction::In, Direction::Out] {
        ensure!(flows.iter().any(|flow| flow.direction == direction), "nothing was seen: {direction:?}");
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

/// What a policy lets through, whoever is at the other end.
struct Allowed {
    ingress: Ports,
    egress: Ports,
}

impl Allowed {
    fn of(policy: NetworkPolicy) -> Result<Self> {
        let spec = policy.spec.context("a policy has a spec")?;
        let (mut ingress, mut egress) = (Ports::new(), Ports::new());
        for rule in spec.ingress.into_iter().flatten() {
            ensure!(rule.from.is_none(), "peers of rules are not judged here; use the values of the chart");
            add(&mut ingress, rule.ports)?;
        }
        for rule in spec.egress.into_iter().flatten() {
            ensure!(rule.to.is_none(), "peers of rules are not judged here; use the values of the chart");
            add(&mut egress, rule.ports)?;
        }
        Ok(Self { ingress, egress })
    }

    /// Plugins judge before or after the address of a Service is translated, so both ports must be allowed on the way
    /// out. On the way in, the pod's own port counts.
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
            other => bail!("only single numbers of ports are judged here, not {other:?}"),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_a_translation_must_be_allowed() {
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
