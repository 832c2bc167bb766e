//! The flag `-o`, and what it makes of workloads.

use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::GetDeploymentResponse;
use serde::Serialize;
use serde_json::{Value, json};

use super::paths::{Path, Template, plain};
use super::table::Table;
use super::{object, print, words, workloads};
use crate::failure::Failure;

/// How to print workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kind and name, for other commands.
    Name,
    /// A template of kubectl.
    JsonPath(Template),
    /// Columns, each with its header and path.
    CustomColumns(Vec<(String, Path)>),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            _ => match text.split_once('=') {
                Some(("jsonpath", template)) => Template::parse(template).map(Self::JsonPath),
                Some(("custom-columns", columns)) => {
                    columns.split(',').map(column).collect::<Result<_, _>>().map(Self::CustomColumns)
                }
                Some(_) | None => {
                    Err("write wide, json, yaml, name, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,…"
                        .to_owned())
                }
            },
        }
    }
}

/// Reads `HEADER:PATH`.
fn column(text: &str) -> Result<(String, Path), String> {
    let (header, path) = text.split_once(':').ok_or_else(|| format!("{text:?} is not HEADER:PATH"))?;
    Ok((header.to_owned(), Path::parse(path)?))
}

/// How to print.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Format: wide, json, yaml, name, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Print no headers
    #[arg(long)]
    pub no_headers: bool,
}

impl OutputArgs {
    /// Prints a list.
    pub fn print(&self, found: &[GetDeploymentResponse], namespace: &str) -> Result<(), Failure> {
        if found.is_empty() && matches!(self.output, None | Some(Format::Wide)) {
            return print::nothing(namespace);
        }
        self.print_named(found, true, namespace)
    }

    /// Prints workloads that were named: a list if `is_list`.
    pub fn print_named(
        &self,
        found: &[GetDeploymentResponse],
        is_list: bool,
        namespace: &str,
    ) -> Result<(), Failure> {
        let text = match &self.output {
            None | Some(Format::Wide) => {
                if found.is_empty() {
                    return Ok(());
                }
                let wide = self.output.is_some();
                let layout =
                    workloads::Layout { wide, headers: !self.no_headers, namespaces: namespace.is_empty() };
                workloads::table(found, layout, Timestamp::now())
            }
            Some(Format::Json) => {
                let mut text = serde_json::to_string_pretty(&value(found, is_list)).expect("values are JSON");
                text.push('\n');
                text
            }
            Some(Format::Yaml) => yaml(&value(found, is_list))?,
            Some(Format::Name) => {
                let names = found.iter().map(|workload| {
                    format!("{}.apps/{}\n", words::kind(workload).to_ascii_lowercase(), workload.name)
                });
                names.collect()
            }
            Some(Format::JsonPath(template)) => template.render(&value(found, is_list)),
            Some(Format::CustomColumns(columns)) => custom(columns, found, !self.no_headers),
        };
        print::out(&text)
    }
}

/// A table of custom columns.
fn custom(columns: &[(String, Path)], found: &[GetDeploymentResponse], headers: bool) -> String {
    let names: Vec<_> = columns.iter().map(|(header, _)| header.as_str()).collect();
    let mut table = Table::new(headers.then_some(&names));
    for workload in found {
        let object = object(workload);
        let cell = |path: &Path| {
            let found: Vec<_> = path.find(&object).into_iter().map(plain).collect();
            if found.is_empty() { "<none>".to_owned() } else { found.join(",") }
        };
        table.push(columns.iter().map(|(_, path)| cell(path)).collect());
    }
    table.render()
}

/// The objects: one, or a list as kubectl prints it.
fn value(found: &[GetDeploymentResponse], is_list: bool) -> Value {
    let mut objects: Vec<_> = found.iter().map(object).collect();
    match objects.pop() {
        Some(only) if !is_list && objects.is_empty() => only,
        last => {
            objects.extend(last);
            json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects })
        }
    }
}

/// A value as YAML.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::new(format!("cannot be written as YAML: {error}")))
}
