//! Medians and percentiles.

/// The middle value; of an even number of values, the middle between the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_owned();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The value below which 99 of 100 lie.
pub fn percentile_99(values: &[f64]) -> f64 {
    percentile(values, 99)
}

/// The value below which `share` of 100 lie.
pub fn percentile(values: &[f64], share: usize) -> f64 {
    let mut sorted = values.to_owned();
    sorted.sort_by(f64::total_cmp);
    let at = sorted.len() * share / 100;
    sorted
        .get(at)
        .or(sorted.last())
        .copied()
        .unwrap_or(f64::NAN)
}

/// A number with about three digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => thousands(value),
        large if large >= 10.0 => format!("{value:.1}"),
        large if large >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
