//! The results as a Markdown table.

pub(crate) use measuring::statistics::{median, number, percentile_99};

use crate::options::Options;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// One measure: a value for each run.
#[derive(Debug)]
struct Row {
    name: String,
    unit: &'static str,
    target: Target,
    values: Vec<f64>,
    note: String,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// The machine's load average before the first measure.
    busy: String,
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new() -> Self {
        let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let busy = averages.split(' ').next().unwrap_or_default().to_owned();
        Self {
            rows: Vec::new(),
            busy,
        }
    }

    /// Adds a measure and says it on standard error.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        target: Target,
        values: &[f64],
        note: impl Into<String>,
    ) {
        let row = Row {
            name: name.into(),
            unit,
            target,
            values: values.to_owned(),
            note: note.into(),
        };
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    /// Prints the table, and what it was measured on.
    pub(crate) fn print(&self, options: &Options) {
        let binary = harness::Server::binary();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let runs = options.runs();
        println!(
            "{}, {processors} processors shared with the load, Linux {}, median of {runs}; \
             {} other processes wanted to run when it began (load average):\n",
            build_of(&binary),
            kernel.trim(),
            self.busy
        );
        println!("| Measure | Target | Median | Min – max | | Beside it |");
        println!("|---|---|---|---|---|---|");
        for row in &self.rows {
            println!("{}", row.line());
        }
    }
}

/// Whether the path is that of a release build.
fn build_of(binary: &std::path::Path) -> String {
    let folder = binary.parent().and_then(std::path::Path::file_name);
    match folder.and_then(|name| name.to_str()) {
        Some("release") => "Release build".into(),
        Some("debug") => "DEVELOPMENT BUILD (not to be compared with the targets)".into(),
        _ => binary.display().to_string(),
    }
}

impl Row {
    fn line(&self) -> String {
        let middle = median(&self.values);
        let (target, met) = match self.target {
            Target::AtLeast(least) => (format!("≥ {}", number(least)), middle >= least),
            Target::AtMost(most) => (format!("≤ {}", number(most)), middle <= most),
        };
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(0.0, f64::max);
        format!(
            "| {} | {target} {unit} | {} {unit} | {} – {} | {} | {} |",
            self.name,
            number(middle),
            number(least),
            number(most),
            if met { "pass" } else { "MISS" },
            self.note,
            unit = self.unit,
        )
    }
}
