//! Paths into objects, for `-o jsonpath=` and `-o custom-columns=`: the part of kubectl's templates that reads fields,
//! items of lists and ranges.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    All,
}

/// A path such as `.items[*].metadata.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(Path),
    /// The parts between `{range PATH}` and `{end}`.
    Range(Path, Vec<Part>),
}

/// A template such as `{range .items[*]}{.metadata.name}{"\n"}{end}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Path {
    /// Reads a path. A leading `$` or full stop may be missing, and it may be in braces.
    pub fn parse(text: &str) -> Result<Self, String> {
        let braced = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let mut rest = braced.trim().trim_start_matches('$');
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (inside, after) =
                    after.split_once(']').ok_or_else(|| format!("{text:?}: ] is missing"))?;
                steps.push(match inside.trim_matches(['\'', '"']) {
                    "*" => Step::All,
                    index if index.parse::<usize>().is_ok() => Step::Index(index.parse().unwrap_or_default()),
                    field if inside.starts_with(['\'', '"']) => Step::Field(field.to_owned()),
                    _ => {
                        return Err(format!(
                            "{text:?}: [{inside}] is neither an index, [*] nor a quoted key"
                        ));
                    }
                });
                rest = after;
            } else {
                rest = rest.strip_prefix('.').unwrap_or(rest);
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                match field {
                    "" => {}
                    "*" => steps.push(Step::All),
                    field => steps.push(Step::Field(field.to_owned())),
                }
                rest = after;
            }
        }
        Ok(Self(steps))
    }

    /// The values at this path.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| match (step, value) {
                    (Step::Field(field), value) => value.get(field).into_iter().collect(),
                    (Step::Index(index), value) => value.get(index).into_iter().collect(),
                    (Step::All, Value::Array(items)) => items.iter().collect(),
                    (Step::All, Value::Object(fields)) => fields.values().collect(),
                    (Step::All, _) => Vec::new(),
                })
                .collect();
        }
        found
    }
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let parts = parts(&mut rest, false)?;
        Ok(Self(parts))
    }

    /// The text for an object.
    pub fn render(&self, value: &Value) -> String {
        let mut text = String::new();
        render(&self.0, value, &mut text);
        text
    }
}

fn parts(rest: &mut &str, in_range: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let Some(start) = rest.find('{') else {
            parts.push(Part::Text(std::mem::take(rest).to_owned()));
            break;
        };
        if start > 0 {
            parts.push(Part::Text(rest[..start].to_owned()));
        }
        let end =
            closing(&rest[start..]).ok_or_else(|| format!("}} is missing after {:?}", &rest[start..]))?;
        let inside = rest[start + 1..start + end].trim();
        *rest = &rest[start + end + 1..];
        if inside == "end" {
            return if in_range { Ok(parts) } else { Err("{end} without {range}".to_owned()) };
        }
        parts.push(match inside.strip_prefix("range ") {
            Some(path) => Part::Range(Path::parse(path)?, self::parts(rest, true)?),
            None if inside.starts_with(['"', '\'']) => Part::Text(literal(inside)),
            None => Part::Path(Path::parse(inside)?),
        });
    }
    if in_range { Err("{range} without {end}".to_owned()) } else { Ok(parts) }
}

/// Where the brace is that closes the first one: not in quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, letter)| {
        match (quote, letter) {
            (None, '}') => return Some(at),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None | Some(_), _) => {}
        }
        None
    })
}

/// A quoted text with `\n` and `\t`.
fn literal(quoted: &str) -> String {
    let inside = quoted.trim_matches(['"', '\'']);
    inside.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"")
}

fn render(parts: &[Part], value: &Value, text: &mut String) {
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Path(path) => {
                let found: Vec<_> = path.find(value).into_iter().map(plain).collect();
                text.push_str(&found.join(" "));
            }
            Part::Range(path, parts) => {
                for item in path.find(value) {
                    render(parts, item, text);
                }
            }
        }
    }
}

/// A value without quotes; objects and lists as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_read_fields_items_and_ranges() {
        let list = json!({ "items": [
            { "metadata": { "name": "web" }, "spec": { "replicas": 3 } },
            { "metadata": { "name": "api" }, "spec": {} },
        ] });
        for (template, expected) in [
            ("{.items[*].metadata.name}", "web api"),
            ("{.items[0].spec.replicas} of {.items[0].metadata.name}", "3 of web"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.replicas}{\"\\n\"}{end}", "web\t3\napi\t\n"),
            ("{.items[0]['metadata'].name}", "web"),
            ("{.items[0].spec}", "{\"replicas\":3}"),
            ("{.missing}{'}'}", "}"),
        ] {
            assert_eq!(
                Template::parse(template).map(|parsed| parsed.render(&list)),
                Ok(expected.to_owned()),
                "{template}"
            );
        }
        for template in ["{.items", "{.items[0}", "{end}", "{range .items[*]}x", "{.items[name]}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
