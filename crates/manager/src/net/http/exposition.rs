//! The formats of metrics, and which one a scraper gets.
//!
//! OpenMetrics is for scrapers of this decade, the older text format is for older ones and for `promtool check metrics`,
//! and protobuf is the only one with native histograms.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::prometheus_protobuf::{self, EncodeError};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0, in text.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// The protobuf format of Prometheus, messages after their lengths.
    Protobuf,
}

/// Metrics that cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExpositionError {
    /// As text.
    #[error("as text: {0}")]
    Text(#[from] std::fmt::Error),
    /// As protobuf.
    #[error("as protobuf: {0:?}")]
    Protobuf(EncodeError),
}

impl Format {
    /// The format that a request prefers. Without a preference, or for one that is not known, OpenMetrics.
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let offers = ranges.flat_map(|value| value.split(',')).filter_map(offer);
        // The first one of those that are preferred alike.
        let best = offers.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|(_, weight)| *weight > 0.0).map_or(Self::OpenMetrics, |(format, _)| format)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The answer with all metrics.
    pub(super) fn respond(self, registry: &Registry) -> Result<Response, ExpositionError> {
        let body = match self {
            Self::OpenMetrics => openmetrics(registry)?.into_response(),
            Self::Text => plain(&openmetrics(registry)?).into_response(),
            Self::Protobuf => {
                let bytes =
                    prometheus_protobuf::encode_to_vec(registry).map_err(ExpositionError::Protobuf)?;
                bytes.into_response()
            }
        };
        let mut response = body;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        Ok(response)
    }
}

/// The format that fits a range of media types, and its weight. `None`: no format fits.
fn offer(range: &str) -> Option<(Format, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let parameters: Vec<(String, &str)> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
        .collect();
    let is =
        |name: &str, expected: &str| parameters.iter().any(|(key, value)| key == name && *value == expected);
    let format = match media_type.as_str() {
        "application/openmetrics-text" | "application/*" | "*/*" => Format::OpenMetrics,
        "text/plain" | "text/*" => Format::Text,
        "application/vnd.google.protobuf"
            if is("proto", "io.prometheus.client.MetricFamily") && is("encoding", "delimited") =>
        {
            Format::Protobuf
        }
        _ => return None,
    };
    let weight =
        parameters.iter().find(|(name, _)| name == "q").map_or(Some(1.0), |(_, q)| q.parse().ok())?;
    Some((format, weight))
}

fn openmetrics(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

/// OpenMetrics in the older format: there a family has the name of its samples, and neither a unit nor an end.
fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(description) = line.strip_prefix("# HELP ") {
            help = description.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            text += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Format) {
        let mut headers = HeaderMap::new();
        for value in accept.split('\n').filter(|value| !value.is_empty()) {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        assert_eq!(Format::of_request(&headers), expected, "{accept}");
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        // Prometheus 3, without and with native histograms.
        let texts = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
                     text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        check(texts, Format::OpenMetrics);
        check(&format!("{protobuf};q=0.6,{texts}"), Format::Protobuf);
        // Prometheus before version 2.5, and the kubelet's tools.
        check("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text);
        check("text/plain", Format::Text);
        // curl, and no header at all.
        check("*/*", Format::OpenMetrics);
        check("", Format::OpenMetrics);
        // What is refused, not known or not complete is not used.
        check("text/plain;q=0, application/json", Format::OpenMetrics);
        check("application/json, text/*;q=0.1", Format::Text);
        check("application/vnd.google.protobuf, text/plain;q=0.5", Format::Text);
        check("text/plain;q=much, application/openmetrics-text;q=0.1", Format::OpenMetrics);
        // Several headers are one list, and the first of equals is taken.
        check("application/json\nTEXT/PLAIN ; Q=0.9\n*/*;q=0.8", Format::Text);
        check("text/plain, application/openmetrics-text", Format::Text);
    }

    #[test]
    fn the_older_format_names_families_like_their_samples() {
        let mut registry = Registry::with_prefix("rcm");
        registry.register("repairs", "Repairs", Counter::<u64>::default());
        registry.register_with_unit("age", "Age", Unit::Seconds, Gauge::<i64>::default());
        registry.register("build", "Build", Info::new([("version", "1")]));
        let plain = plain(&openmetrics(&registry).unwrap());
        assert_eq!(
            plain,
            "# HELP rcm_repairs_total Repairs.\n# TYPE rcm_repairs_total counter\nrcm_repairs_total 0\n\
             # HELP rcm_age_seconds Age.\n# TYPE rcm_age_seconds gauge\nrcm_age_seconds 0\n\
             # HELP rcm_build_info Build.\n# TYPE rcm_build_info gauge\nrcm_build_info{version=\"1\"} 1\n"
        );
    }
}
