//! The CustomResourceDefinition of ReplicaCounts.

use kube::CustomResourceExt as _;
use serde_json::Value;

use super::schema::ReplicaCountObject;

/// The command that installs the definition.
pub const INSTALL_COMMAND: &str = "replica-count-manager crd | kubectl apply --server-side -f -";

/// The header of the committed file.
const HEAD: &str = "\
# Generated from crates/manager/src/kubernetes/replica_count/schema.rs, by `make crd`.
";

/// The definition as YAML, which `kubectl apply` takes.
pub fn definition() -> String {
    let mut definition = serde_json::to_value(ReplicaCountObject::crd()).expect("a definition is JSON");
    tidy(&mut definition);
    let yaml = serde_saphyr::to_string(&definition).expect("JSON is YAML");
    format!("{HEAD}{yaml}")
}

/// Writes what the generators write as a person would: no types of this program, whole numbers, and no null, which the
/// API server then drops instead of storing it.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("nullable");
            fields.remove("title");
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Number(number) => {
            #[allow(clippy::cast_possible_truncation, reason = "limits of a schema are small")]
            let whole = number.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64);
            *number = whole.map_or_else(|| number.clone(), Into::into);
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_definition_is_current() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/replica-count-manager");
        let committed = fs::read_to_string(chart.join("files/crd/replicacounts.yaml")).unwrap();
        assert!(committed == definition(), "run `make crd`");
    }
}
