//! Prometheus metrics.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

/// All metrics of one server. Clones share them.
///
/// Asking twice for one name gives the same metric. Names and labels are
/// literals in our code; a name that Prometheus refuses, or one that is asked for
/// with two kinds, is a mistake in it and panics at once, when the part is built.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    registry: Registry,
    known: Mutex<HashMap<&'static str, Metric>>,
}

#[derive(Clone)]
enum Metric {
    Counter(IntCounter),
    CounterWith(IntCounterVec),
    Gauge(IntGauge),
    GaugeWith(IntGaugeVec),
    Histogram(Histogram),
    HistogramWith(HistogramVec),
}

/// Writes one accessor: find the metric under its name, or make and register it.
macro_rules! metric {
    ($self:ident, $name:ident, $kind:ident, $make:expr) => {{
        let mut known = $self.0.known.lock();
        match known.get($name) {
            Some(Metric::$kind(metric)) => metric.clone(),
            Some(_) => mistaken($name, &"it is known as a metric of another kind"),
            None => {
                let metric = $make.unwrap_or_else(|error| mistaken($name, &error));
                $self.register($name, Box::new(metric.clone()));
                known.insert($name, Metric::$kind(metric.clone()));
                metric
            }
        }
    }};
}

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A number that only grows. `name` ends in `_total`; `help` is one sentence.
    pub fn counter(&self, name: &'static str, help: &str) -> IntCounter {
        metric!(self, name, Counter, IntCounter::new(name, help))
    }

    /// One counter for each combination of values of `labels`, which must come
    /// from a small fixed set (an endpoint's template, never a user's id).
    pub fn counter_with(&self, name: &'static str, help: &str, labels: &[&str]) -> IntCounterVec {
        metric!(
            self,
            name,
            CounterWith,
            IntCounterVec::new(Opts::new(name, help), labels)
        )
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &'static str, help: &str) -> IntGauge {
        metric!(self, name, Gauge, IntGauge::new(name, help))
    }

    /// One gauge for each combination of values of `labels`.
    pub fn gauge_with(&self, name: &'static str, help: &str, labels: &[&str]) -> IntGaugeVec {
        metric!(
            self,
            name,
            GaugeWith,
            IntGaugeVec::new(Opts::new(name, help), labels)
        )
    }

    /// How observed values distribute over `buckets`, which are upper bounds in
    /// ascending order, in the unit that `name` ends with (`_seconds`, `_bytes`).
    pub fn histogram(&self, name: &'static str, help: &str, buckets: &[f64]) -> Histogram {
        metric!(
            self,
            name,
            Histogram,
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        )
    }

    /// One histogram for each combination of values of `labels`.
    pub fn histogram_with(
        &self,
        name: &'static str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        metric!(
            self,
            name,
            HistogramWith,
            HistogramVec::new(
                HistogramOpts::new(name, help).buckets(buckets.to_vec()),
                labels
            )
        )
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        let families = self.0.registry.gather();
        TextEncoder::new()
            .encode_to_string(&families)
            .unwrap_or_else(|error| {
                ::log::error!("metrics cannot be rendered: {error}");
                String::new()
            })
    }

    fn register(&self, name: &'static str, collector: Box<dyn Collector>) {
        if let Err(error) = self.0.registry.register(collector) {
            mistaken(name, &error)
        }
    }
}

#[expect(
    clippy::panic,
    reason = "names are literals: any test that builds the part finds it"
)]
fn mistaken(name: &str, error: &dyn std::fmt::Display) -> ! {
    panic!("metric {name}: {error}")
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_set()
            .entries(self.0.known.lock().keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_shared_by_name_and_rendered() {
        let metrics = Metrics::new();
        metrics.counter("cairn_sends_total", "Sent events.").inc();
        metrics.counter("cairn_sends_total", "Sent events.").inc();
        metrics
            .counter_with("cairn_requests_total", "Requests.", &["code"])
            .with_label_values(&["200"])
            .inc();
        metrics
            .histogram("cairn_wait_seconds", "Waits.", &[0.1, 1.0])
            .observe(0.5);
        let text = metrics.render();
        assert!(text.contains("cairn_sends_total 2\n"), "{text}");
        assert!(
            text.contains("cairn_requests_total{code=\"200\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("cairn_wait_seconds_bucket{le=\"1\"} 1\n"),
            "{text}"
        );
    }
}
