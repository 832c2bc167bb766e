//! The flags of traces. They have the standard variables of OpenTelemetry, which operators set for whole clusters.

use std::env;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use http::Uri;

use crate::traces::exporter::{Exporter, export};
use crate::traces::{Collector, Protocol, Tracer, headers, pairs};

/// Headers of each request. They may be secrets, so no flag shows them in the list of processes.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// What the collector is to know of this server, as `NAME=VALUE,…`.
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The name of this server.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Whether traces are off, whatever else is set.
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// Where traces are sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub struct OtlpArgs {
    /// Address of an OpenTelemetry collector that traces are sent to, such as http://collector:4318 [default: none]
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = endpoint,
        default_value = "",
        hide_default_value = true
    )]
    pub otlp_endpoint: OptionalUri,
    /// How they are sent
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_enum, default_value_t = OtlpProtocol::Http)]
    pub otlp_protocol: OtlpProtocol,
    /// Certificates of the authorities that sign the collector's (PEM) [default: those that browsers trust]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub otlp_ca_file: Option<PathBuf>,
}

/// An address, or none.
#[derive(Clone, Debug)]
pub struct OptionalUri(pub Option<Uri>);

/// How traces are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OtlpProtocol {
    /// By gRPC, usually to port 4317
    Grpc,
    /// In requests of HTTP, usually to port 4318
    #[value(name = "http/protobuf")]
    Http,
}

/// Parses the address of a collector; an empty text means that there is none.
fn endpoint(text: &str) -> Result<OptionalUri, String> {
    if text.is_empty() {
        return Ok(OptionalUri(None));
    }
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority))
            if !authority.as_str().contains('@') && uri.query().is_none() =>
        {
            Ok(OptionalUri(Some(uri)))
        }
        _ => {
            Err("write http://HOST:PORT or https://HOST:PORT, and with http/protobuf perhaps a path"
                .to_owned())
        }
    }
}

impl OtlpArgs {
    /// The tracer and the exporter of its spans, for the server in `pod`. `None`: there are no traces. Reads files. The
    /// error is one line.
    pub fn export(&self, pod: &str) -> Result<Option<(Tracer, Exporter)>, String> {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        let is_disabled = variable(DISABLED).eq_ignore_ascii_case("true");
        let Some(endpoint) = self.otlp_endpoint.0.clone().filter(|_| !is_disabled) else { return Ok(None) };
        let protocol = match self.otlp_protocol {
            OtlpProtocol::Grpc => Protocol::Grpc,
            OtlpProtocol::Http => Protocol::Http,
        };
        let headers = headers(&variable(HEADERS)).map_err(|error| format!("{HEADERS}: {error}"))?;
        let collector = Collector { endpoint, protocol, ca_file: self.otlp_ca_file.clone(), headers };
        let attributes = attributes(pod, &variable(SERVICE_NAME), &variable(RESOURCE_ATTRIBUTES));
        export(&collector, attributes).map(Some).map_err(|error| format!("--otlp-ca-file: {error}"))
    }
}

/// What the collector knows of this server: what is given, and else what is known.
fn attributes(pod: &str, service: &str, given: &str) -> Vec<(String, String)> {
    let mut attributes: Vec<(String, String)> = pairs(given).flatten().collect();
    if !service.is_empty() {
        attributes.retain(|(name, _)| name != "service.name");
        attributes.push(("service.name".to_owned(), service.to_owned()));
    }
    let known = [
        ("service.name", env!("CARGO_PKG_NAME")),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", pod),
    ];
    for (name, value) in known {
        if attributes.iter().all(|(other, _)| other != name) {
            attributes.push((name.to_owned(), value.to_owned()));
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_of_http() {
        for text in ["http://a:4318", "https://a", "http://[::1]:4318/otlp", "http://10.0.0.1:4317/"] {
            assert_eq!(endpoint(text).unwrap().0.map(|uri| uri.authority().is_some()), Some(true), "{text}");
        }
        assert!(endpoint("").unwrap().0.is_none());
        for text in ["collector:4317", "a", "grpc://a:4317", "http://", "http://user@a:4318", "http://a/?b"] {
            endpoint(text).unwrap_err();
        }
    }

    #[test]
    fn given_attributes_come_first() {
        let attributes = |service: &str, given: &str| {
            let attributes = attributes("pod-1", service, given);
            attributes
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let version = concat!("service.version=", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            attributes("", ""),
            format!("service.name=replica-count-manager {version} service.instance.id=pod-1")
        );
        assert_eq!(
            attributes("mine", "service.name=other,service.instance.id=x,zone=a%2Cb,broken"),
            format!("service.instance.id=x zone=a,b service.name=mine {version}")
        );
    }
}
