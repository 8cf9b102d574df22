//! What is measured about requests and connections.

use axum::{Router, response::Response, routing::get};
use http::{HeaderValue, header};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use runtime::Metrics;

/// Upper bounds of the durations, in seconds. Long polls end at 30 mostly.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0,
];

/// The metrics of this floor. Clones share them.
#[derive(Clone)]
pub struct Measures {
    requests: IntCounterVec,
    seconds: Histogram,
    in_flight: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) refused_connections: IntCounter,
}

impl Measures {
    /// Registers them in `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counter_with(
                "cairn_http_requests_total",
                "Answered requests by the template of their path, method and status.",
                &["endpoint", "method", "status"],
            ),
            seconds: metrics.histogram(
                "cairn_http_request_seconds",
                "Time from a request's head to its answer's head; long polls included.",
                &SECONDS,
            ),
            in_flight: metrics.gauge(
                "cairn_http_requests_in_flight",
                "Requests that are not wholly answered yet.",
            ),
            connections: metrics.gauge("cairn_http_connections", "Open connections."),
            refused_connections: metrics.counter(
                "cairn_http_connections_refused_total",
                "Connections closed at once because their address had too many.",
            ),
        }
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn answered(&self, endpoint: &str, method: &str, status: u16, seconds: f64) {
        let mut digits = [0; 3];
        let status = three_digits(status, &mut digits);
        self.requests
            .with_label_values(&[endpoint, method, status])
            .inc();
        self.seconds.observe(seconds);
    }
}

/// A request on its way; dropped with the last byte of its answer.
pub(crate) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A status as text, without allocating.
fn three_digits(status: u16, digits: &mut [u8; 3]) -> &str {
    for (digit, unit) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(status / unit % 10).unwrap_or(0);
    }
    str::from_utf8(digits).unwrap_or("000")
}

/// `GET /metrics`: all metrics of the server, in Prometheus' text format.
pub fn metrics_routes(metrics: Metrics) -> Router {
    let render = move || {
        let metrics = metrics.clone();
        async move {
            let mut response = Response::new(axum::body::Body::from(metrics.render()));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            response
        }
    };
    Router::new().route("/metrics", get(render))
}
