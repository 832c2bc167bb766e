//! The entry that an object stands for, and the `spec` that stands for a setting.

use std::sync::Arc;

use jiff::Timestamp;
use replica_count_core::entry_target::{EntryTarget, OtherTarget};
use replica_count_core::kind::Kind;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::{Certainty, Enforcement, Hold, Setting};
use replica_count_core::stored::{Entry, Unsupported};
use replica_count_core::target::Target;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::kubernetes::replica_count::{
    EnforcementMode, ReplicaCount, ReplicaCountSpec, TargetRef, Temporary,
};

/// Fields of the `spec` that have fields of their own.
const TARGET: &str = "target";
const TEMPORARY: &str = "temporary";

/// Why an object is not enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotEnforced {
    /// Its count is above `--max-replicas`.
    AboveMaximum(Arc<str>),
    /// It has something that this version does not know.
    Unsupported(Arc<str>),
}

impl NotEnforced {
    /// The reason in a sentence.
    pub fn message(&self) -> &Arc<str> {
        match self {
            Self::AboveMaximum(message) | Self::Unsupported(message) => message,
        }
    }

    /// The reason in one word, for conditions.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::AboveMaximum(_) => "AboveMaximum",
            Self::Unsupported(_) => "NotSupported",
        }
    }
}

/// By what objects are judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Counts above this are not enforced.
    pub max_replicas: Replicas,
    /// Whether a policy of the API server keeps others from writing who set a count.
    pub authors: Certainty,
}

impl Rules {
    /// Everything that can be stored is right.
    pub(super) const NONE: Self = Self { max_replicas: Replicas::MAX, authors: Certainty::Proven };
}

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The workload. `None`: no workload can have its name.
    pub(super) target: Option<EntryTarget>,
    /// The setting, if this version knows all of it.
    setting: Option<Arc<Setting>>,
    not_enforced: Option<NotEnforced>,
    generation: u64,
    spec: Box<str>,
}

impl Said {
    /// Reads an object.
    pub(super) fn of(object: &ReplicaCount, rules: Rules) -> Self {
        let target = target(object);
        let generation = object.generation();
        let spec = object.spec.to_string().into();
        let setting =
            target.as_ref().map_err(String::clone).and_then(|target| setting(object, target, rules.authors));
        let (setting, not_enforced) = match setting {
            Ok(setting) => {
                let not_enforced = not_enforced(&setting, rules.max_replicas);
                (Some(Arc::new(setting)), not_enforced)
            }
            Err(reason) => (None, Some(NotEnforced::Unsupported(reason.into()))),
        };
        Self { target: target.ok(), setting, not_enforced, generation, spec }
    }

    /// What is stored, as everybody sees it.
    pub(super) fn entry(&self) -> Entry {
        match (&self.not_enforced, &self.setting) {
            (None, Some(setting)) => Entry::Setting(Arc::clone(setting)),
            (not_enforced, _) => {
                let reason = not_enforced.as_ref().map_or_else(|| "".into(), |why| Arc::clone(why.message()));
                let (generation, json) = (self.generation, self.spec.clone());
                Entry::Unsupported(Arc::new(Unsupported { reason, generation, json }))
            }
        }
    }

    /// What is stored, as a change sees it: a new count replaces one that is only refused.
    pub(super) fn entry_to_change(&self) -> Entry {
        self.setting.as_ref().map_or_else(|| self.entry(), |setting| Entry::Setting(Arc::clone(setting)))
    }

    pub(super) fn not_enforced(&self) -> Option<&NotEnforced> {
        self.not_enforced.as_ref()
    }

    pub(super) fn setting(&self) -> Option<&Arc<Setting>> {
        self.setting.as_ref()
    }

    /// The patch of the `spec` after which it stands for `setting` and for nothing else.
    pub(super) fn patch(&self, setting: &Setting) -> Value {
        let mut fields = fields(setting);
        let spec = self.spec();
        if let (Some(Value::Object(before)), Some(Value::Object(after))) =
            (spec.get(TEMPORARY), fields.get_mut(TEMPORARY))
        {
            for key in before.keys() {
                after.entry(key).or_insert(Value::Null);
            }
        }
        let mut patch: Map<String, Value> = spec.into_iter().map(|(key, _)| (key, Value::Null)).collect();
        patch.remove(TARGET);
        patch.extend(fields);
        Value::Object(patch)
    }

    /// Whether the patch changes the `spec`, and so raises the generation: perhaps only how it is written.
    pub(super) fn is_changed_by_patch(&self, setting: &Setting) -> bool {
        let (spec, mut after) = (self.spec(), fields(setting));
        after.extend(spec.get(TARGET).map(|target| (TARGET.to_owned(), target.clone())));
        spec != after
    }

    /// Whether the `spec` stands for `setting`, however it is written.
    pub(super) fn is_same_spec(&self, setting: &Setting) -> bool {
        self.setting.as_ref().is_some_and(|own| {
            (own.replicas, own.hold, own.enforcement) == (setting.replicas, setting.hold, setting.enforcement)
                && own.reason == setting.reason
        })
    }

    fn spec(&self) -> Map<String, Value> {
        serde_json::from_str(&self.spec).unwrap_or_default()
    }
}

/// The `spec` of a new object that stands for a setting.
pub(super) fn spec_of(target: &Target, object_name: &str, setting: &Setting) -> Value {
    let mut spec = Map::new();
    if target.kind() != Kind::default() || target.name() != object_name {
        spec.insert(TARGET.to_owned(), json!({ "kind": target.kind().as_str(), "name": target.name() }));
    }
    spec.extend(fields(setting));
    Value::Object(spec)
}

fn fields(setting: &Setting) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(lasting) = setting.lasting() {
        fields.insert("replicas".to_owned(), lasting.get().into());
    }
    if let Some(Hold { until, .. }) = setting.hold {
        let temporary = json!({ "replicas": setting.replicas.get(), "until": until.to_string() });
        fields.insert(TEMPORARY.to_owned(), temporary);
    }
    if let Enforcement::Ignore { until } = setting.enforcement {
        fields.insert("enforcement".to_owned(), EnforcementMode::Ignore.as_str().into());
        if let Some(until) = until {
            fields.insert("enforcementUntil".to_owned(), until.to_string().into());
        }
    }
    if let Some(reason) = &setting.reason {
        fields.insert("reason".to_owned(), reason.as_str().into());
    }
    fields
}

/// The workload. The error says why there cannot be one.
fn target(object: &ReplicaCount) -> Result<EntryTarget, String> {
    let key = object.key();
    let field = |name: &str| object.spec["target"][name].as_str();
    let name = field("name").unwrap_or(&key.name);
    let kind = field("kind").unwrap_or(Kind::default().as_str());
    match Kind::from_name(kind) {
        Some(kind) => Target::new(kind, &key.namespace, name).map(EntryTarget::Known).map_err(text),
        None => OtherTarget::new(kind, &key.namespace, name).map(EntryTarget::Other).map_err(text),
    }
    .map_err(|reason| format!("its spec.target: {reason}"))
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

/// The setting. The error says what is not supported.
fn setting(object: &ReplicaCount, target: &EntryTarget, authors: Certainty) -> Result<Setting, String> {
    let unknown = |what: &str, word: &str| Err(format!("this version does not know the {what} {word:?}"));
    if target.known().is_none() {
        return unknown("kind", target.kind());
    }
    let spec = ReplicaCountSpec::deserialize(&object.spec).map_err(|error| format!("its spec: {error}"))?;
    let keys = spec.unknown.keys();
    let target_keys = spec.target.iter().flat_map(|TargetRef { unknown, .. }| unknown.keys());
    let temporary_keys = spec.temporary.iter().flat_map(|Temporary { unknown, .. }| unknown.keys());
    if let Some(key) = keys.chain(target_keys).chain(temporary_keys).next() {
        return unknown("field", key);
    }
    let until = spec.enforcement_until;
    let enforcement = match spec.enforcement.as_deref().map(|mode| (mode, EnforcementMode::from_name(mode))) {
        None | Some((_, Some(EnforcementMode::Enforce))) => Enforcement::Enforce,
        Some((_, Some(EnforcementMode::Ignore))) => Enforcement::Ignore { until },
        Some((mode, None)) => return unknown("enforcement", mode),
    };
    let (set_by, certainty, set_at) = author(object, authors);
    let lasting = spec.replicas.map(Replicas::new).transpose().map_err(text)?;
    let (replicas, hold) = match spec.temporary {
        Some(Temporary { replicas, until, .. }) => {
            (Replicas::new(replicas).map_err(text)?, Some(Hold { until, afterwards: lasting }))
        }
        None => (lasting.ok_or("its spec has neither replicas nor temporary")?, None),
    };
    Ok(Setting {
        replicas,
        hold,
        generation: object.generation(),
        enforcement,
        set_by,
        certainty,
        set_at,
        reason: spec.reason,
    })
}

/// Who set the count: as is written beside it, or else the field manager that owns it.
fn author(object: &ReplicaCount, authors: Certainty) -> (Option<String>, Certainty, Option<Timestamp>) {
    match (object.set(), object.claimed()) {
        ((Some(by), at), _) => (Some(by), authors, at),
        ((None, at), Some(owner)) => {
            (Some(owner.manager().to_owned()), Certainty::Claimed, at.or(owner.time))
        }
        ((None, at), None) => (None, authors, at),
    }
}

/// Why a setting would not be enforced.
pub(super) fn not_enforced(setting: &Setting, max_replicas: Replicas) -> Option<NotEnforced> {
    let counts = [Some(setting.replicas), setting.lasting()];
    let highest = counts.into_iter().flatten().max();
    highest.filter(|highest| *highest > max_replicas).map(|replicas| {
        let message = format!("{replicas} replicas are above the maximum of {max_replicas} (--max-replicas)");
        NotEnforced::AboveMaximum(message.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(spec: &Value) -> Said {
        let metadata = json!({ "namespace": "shop", "name": "web", "uid": "u", "generation": 2 });
        let object = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
        Said::of(&object, Rules { max_replicas: Replicas::new(10).unwrap(), ..Rules::NONE })
    }

    #[track_caller]
    fn check_refused(spec: &Value, expected: &str) -> Said {
        let said = said(spec);
        match said.entry() {
            Entry::Unsupported(entry) => assert!(entry.reason.contains(expected), "{}", entry.reason),
            Entry::Setting(setting) => panic!("{setting:?}"),
        }
        said
    }

    #[test]
    fn what_is_written_is_read() {
        let until = "2026-01-02T00:00:00Z".parse().ok();
        for enforcement in
            [Enforcement::Enforce, Enforcement::Ignore { until }, Enforcement::Ignore { until: None }]
        {
            let (zero, reason) = (Replicas::new(0).unwrap(), Some("sale".to_owned()));
            let lasting = Setting { generation: 2, enforcement, reason, ..Setting::of(zero) };
            let held = |afterwards| {
                let hold = until.map(|until| Hold { until, afterwards });
                Setting { hold, replicas: Replicas::new(9).unwrap(), ..lasting.clone() }
            };
            let settings = [lasting.clone(), held(Some(zero)), held(None)];
            for (setting, name) in settings.into_iter().zip(["web", "api", "web"]) {
                let target = Target::new(Kind::StatefulSet, "shop", name).unwrap();
                let said = said(&spec_of(&target, "web", &setting));
                assert_eq!(said.entry(), Entry::Setting(Arc::new(setting.clone())));
                assert_eq!(said.target, Some(target.into()));
                assert!(said.is_same_spec(&setting));
            }
        }
        assert_eq!(
            said(&json!({ "replicas": 3 })).target,
            Some(Target::deployment("shop", "web").unwrap().into())
        );
    }

    #[track_caller]
    fn check_author(annotations: &Value, authors: Certainty, expected: Option<(&str, Certainty)>) {
        let metadata = json!({
            "namespace": "shop", "name": "web", "uid": "u", "generation": 2, "annotations": annotations,
            "managedFields": [{
                "manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } },
            }],
        });
        let object = json!({ "metadata": metadata, "spec": { "replicas": 3 } });
        let said = Said::of(&serde_json::from_value(object).unwrap(), Rules { authors, ..Rules::NONE });
        let setting = said.setting().unwrap();
        assert_eq!(setting.set_by.as_deref().map(|by| (by, setting.certainty)), expected);
    }

    #[test]
    fn who_set_a_count_is_as_sure_as_the_api_server_makes_it() {
        let at = |generation: &str| json!({ "replicacount.dev/set-by": "alice", "replicacount.dev/set-generation": generation });
        let manager = Some(("kubectl-edit", Certainty::Claimed));
        for authors in [Certainty::Proven, Certainty::Claimed] {
            check_author(&at("2"), authors, Some(("alice", authors)));
            check_author(&at("1"), authors, manager);
            check_author(&json!({}), authors, manager);
        }
    }

    #[test]
    fn what_is_not_supported_is_not_enforced() {
        check_refused(&json!({ "replicas": 3, "floor": 1 }), "the field \"floor\"");
        check_refused(&json!({ "replicas": 3, "target": { "version": "v1" } }), "the field \"version\"");
        check_refused(&json!({ "replicas": 3, "enforcement": "Maybe" }), "the enforcement \"Maybe\"");
        check_refused(&json!({ "replicas": -1 }), "-1 is negative");
        check_refused(&json!({ "replicas": "3" }), "its spec: ");
        check_refused(&json!({}), "neither replicas nor temporary");
        let temporary = json!({ "replicas": 1, "until": "2026-01-02T00:00:00Z", "from": "" });
        check_refused(&json!({ "temporary": temporary }), "the field \"from\"");
        let other = check_refused(&json!({ "replicas": 3, "target": { "kind": "Rollout" } }), "\"Rollout\"");
        assert_eq!(other.target.unwrap().to_string(), "shop/Rollout/web");
        let invalid =
            check_refused(&json!({ "replicas": 3, "target": { "name": "Web" } }), "its spec.target: name");
        assert_eq!(invalid.target, None);
    }

    #[test]
    fn a_new_count_replaces_one_that_is_only_refused() {
        let temporary = |replicas: i32| json!({ "replicas": replicas, "until": "2026-01-02T00:00:00Z" });
        let setting = Setting::of(Replicas::new(4).unwrap());
        for spec in [
            json!({ "replicas": 11 }),
            json!({ "replicas": 11, "temporary": temporary(4) }),
            json!({ "replicas": 4, "temporary": temporary(11) }),
        ] {
            let said = check_refused(&spec, "11 replicas are above");
            assert!(matches!(said.entry_to_change(), Entry::Setting(_)));
            assert!(!said.is_same_spec(&setting));
        }
        let temporary = temporary(1);
        let said = said(&json!({ "replicas": 4, "temporary": temporary, "target": {}, "reason": "sale" }));
        assert_eq!(said.patch(&setting), json!({ "replicas": 4, "temporary": null, "reason": null }));
    }

    #[test]
    fn a_patch_may_change_only_how_a_spec_is_written() {
        let until = "2026-01-02T00:00:00Z".parse().unwrap();
        let three = Setting::of(Replicas::new(3).unwrap());
        let held = Setting { hold: Some(Hold { until, afterwards: None }), ..three.clone() };
        let temporary = |until: &str| json!({ "temporary": { "replicas": 3, "until": until } });
        for (spec, setting, is_changed) in [
            (json!({ "replicas": 3 }), &three, false),
            (json!({ "replicas": 3, "target": { "name": "web" } }), &three, false),
            (json!({ "replicas": 3, "enforcement": "Enforce" }), &three, true),
            (temporary("2026-01-02T00:00:00Z"), &held, false),
            (temporary("2026-01-02T01:00:00+01:00"), &held, true),
        ] {
            let said = said(&spec);
            assert!(said.is_same_spec(setting), "{spec}");
            assert_eq!(said.is_changed_by_patch(setting), is_changed, "{spec}");
        }
        let unknown = check_refused(
            &json!({ "temporary": { "replicas": 1, "until": "2026-01-02T00:00:00Z", "from": "" } }),
            "from",
        );
        let written = json!({ "replicas": 3, "until": "2026-01-02T00:00:00Z", "from": null });
        assert_eq!(unknown.patch(&held), json!({ "temporary": written }));
    }
}
