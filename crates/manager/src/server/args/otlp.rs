//! The flags of traces. They have the standard variables of OpenTelemetry, which operators set for whole clusters.

use std::env;
use std::path::PathBuf;

use clap::Args;
use http::Uri;

use crate::traces::exporter::{Exporter, export};
use crate::traces::{Collector, CollectorError, Protocol, Tracer, headers, pairs};

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
        default_value = "",
        hide_default_value = true
    )]
    pub otlp_endpoint: String,
    /// How they are sent: http/protobuf, usually to port 4318, or grpc, usually to port 4317
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        value_name = "PROTOCOL",
        default_value = "http/protobuf"
    )]
    pub otlp_protocol: String,
    /// Certificates of the authorities that sign the collector's (PEM) [default: those that browsers trust]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub otlp_ca_file: Option<PathBuf>,
}

/// Parses the address of a collector.
fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority))
            if !authority.as_str().contains('@') && uri.query().is_none() =>
        {
            Ok(uri)
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
        // Whatever a cluster sets for all its pods, it must not keep a server without traces from starting.
        if is_disabled || self.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = endpoint(&self.otlp_endpoint);
        let endpoint =
            endpoint.map_err(|error| format!("--otlp-endpoint: {:?}: {error}", self.otlp_endpoint))?;
        let protocol = match &*self.otlp_protocol {
            "" | "http/protobuf" => Protocol::Http,
            "grpc" => Protocol::Grpc,
            other => {
                return Err(format!("--otlp-protocol: {other:?} is not known: write http/protobuf or grpc"));
            }
        };
        let headers = headers(&variable(HEADERS)).map_err(|error| format!("{HEADERS}: {error}"))?;
        let collector = Collector {
            endpoint,
            protocol,
            ca_file: self.otlp_ca_file.clone().filter(|path| !path.as_os_str().is_empty()),
            headers,
        };
        let attributes = attributes(pod, &variable(SERVICE_NAME), &variable(RESOURCE_ATTRIBUTES));
        export(&collector, attributes).map(Some).map_err(|error| match error {
            CollectorError::CaFile(..) => format!("--otlp-ca-file: {error}"),
            CollectorError::Endpoint(_) | CollectorError::Outbound(_) => format!("--otlp-endpoint: {error}"),
        })
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
            assert!(endpoint(text).unwrap().authority().is_some(), "{text}");
        }
        for text in
            ["", "collector:4317", "a", "grpc://a:4317", "http://", "http://user@a:4318", "http://a/?b"]
        {
            endpoint(text).unwrap_err();
        }
    }

    #[test]
    fn without_a_collector_nothing_is_wrong() {
        let args = |endpoint: &str, protocol: &str| {
            let (otlp_endpoint, otlp_protocol) = (endpoint.to_owned(), protocol.to_owned());
            OtlpArgs { otlp_endpoint, otlp_protocol, otlp_ca_file: Some(PathBuf::new()) }.export("pod-1")
        };
        for protocol in ["", "http/json", "grpc"] {
            assert!(matches!(args("", protocol), Ok(None)), "{protocol}");
        }
        assert!(matches!(args("http://a:4318", ""), Ok(Some(_))));
        for (endpoint, protocol) in [("a:4317", "grpc"), ("http://a:4318", "http/json")] {
            assert!(args(endpoint, protocol).is_err_and(|error| error.starts_with("--otlp-")), "{endpoint}");
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
