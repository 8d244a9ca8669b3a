//! What is printed, and written as JSON beside it.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::rounds::{Sample, Samples};

/// How a value is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Seconds, shown as milliseconds.
    Millis,
    /// Octets a second, shown as MB/s: more is better.
    MbPerSecond,
    /// Octets, shown as KiB.
    KiB,
    /// Octets, shown as MiB.
    MiB,
    /// How many a second: more is better.
    PerSecond,
    /// How many times.
    Times,
}

impl Unit {
    fn shown(self, value: f64) -> f64 {
        match self {
            Unit::Millis => value * 1e3,
            Unit::MbPerSecond => value / 1e6,
            Unit::KiB => value / 1024.0,
            Unit::MiB => value / f64::from(1 << 20),
            Unit::PerSecond | Unit::Times => value,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Millis => "ms",
            Unit::MbPerSecond => "MB/s",
            Unit::KiB => "KiB",
            Unit::MiB => "MiB",
            Unit::PerSecond => "/s",
            Unit::Times => "times",
        }
    }
}

/// The results of one group of measures.
pub struct Table {
    group: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Value>,
}

impl Table {
    /// An empty one of these columns; prints its head. The first column is what the others are held against.
    pub fn new(group: &'static str, columns: &'static [&'static str]) -> Table {
        println!(
            "\n{group:<56} {:>16} {}",
            columns[0],
            columns[1..].iter().map(|column| format!("{column:>24}")).collect::<String>()
        );
        Table { group, columns, rows: Vec::new() }
    }

    /// A measure: medians, how far they spread, and ratios to the first column. Prints them.
    pub fn row(&mut self, name: &str, unit: Unit, samples: &Samples) {
        self.line(name, unit, samples, |sample| sample.value);
    }

    /// The same, and what it cost of processor time, divided by `per`.
    pub fn row_with_cpu(&mut self, name: &str, unit: Unit, samples: &Samples, per: f64) {
        self.row(name, unit, samples);
        self.line(&format!("{name}: CPU"), Unit::Millis, samples, |sample| sample.cpu / per);
    }

    fn line(&mut self, name: &str, unit: Unit, samples: &Samples, of: impl Fn(&Sample) -> f64) {
        let mut cells = String::new();
        let mut ways = Map::new();
        let mut first = None;
        for (&column, samples) in self.columns.iter().zip(samples) {
            let mut values: Vec<f64> = samples.iter().map(|s| unit.shown(of(s))).collect();
            values.sort_by(f64::total_cmp);
            let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
                cells += &format!("{:>24}", "—");
                continue;
            };
            let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
            let spread = if median > 0.0 { (most - least) / 2.0 / median * 100.0 } else { 0.0 };
            cells += &format!(" {:>9} ±{spread:>3.0}%", short(median));
            let ratio = first.map(|first: f64| median / first);
            if let Some(ratio) = ratio {
                cells += &format!(" ×{ratio:<6.2}");
            }
            if column == self.columns[0] {
                first = Some(median);
            }
            ways.insert(
                column.to_owned(),
                json!({"median": median, "least": least, "most": most, "ratio": ratio, "samples": values}),
            );
        }
        println!("{:<56} {cells}", format!("{name} [{}]", unit.name()));
        self.rows.push(json!({"measure": name, "unit": unit.name(), "ways": ways}));
    }

    /// Writes `NAME.json` into cargo's target directory, under `speed`.
    pub fn write(self) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../speed");
        let when = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let all = json!({
            "group": self.group, "time": when, "machine": machine(), "rows": self.rows,
        });
        let file = dir.join(format!("{}.json", self.group));
        let text = format!("{all:#}\n");
        fs::create_dir_all(&dir).and_then(|()| fs::write(&file, text)).expect("the results' file");
    }
}

/// What it runs on.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names: Vec<&str> = cpuinfo.lines().filter(|l| l.starts_with("model name")).collect();
    let name = names.first().and_then(|l| l.split(": ").nth(1)).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} × {name}, Linux {}", names.len(), kernel.trim())
}

fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
