//! What is printed, and written as JSON beside it.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::rounds::{Sample, Samples};
use crate::way::WAYS;

/// How a value is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Seconds, shown as milliseconds.
    Millis,
    /// Octets a second, shown as MB/s: more is better.
    MbPerSecond,
    /// Octets, shown as KiB.
    KiB,
}

impl Unit {
    fn shown(self, value: f64) -> f64 {
        match self {
            Unit::Millis => value * 1e3,
            Unit::MbPerSecond => value / 1e6,
            Unit::KiB => value / 1024.0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Millis => "ms",
            Unit::MbPerSecond => "MB/s",
            Unit::KiB => "KiB",
        }
    }
}

/// The results of one group of measures.
pub struct Table {
    group: &'static str,
    rows: Vec<Value>,
}

impl Table {
    /// An empty one; prints its head.
    pub fn new(group: &'static str) -> Table {
        println!(
            "\n{group:<56} {:>16} {}",
            WAYS[0],
            WAYS[1..].iter().map(|w| format!("{w:>24}")).collect::<String>()
        );
        Table { group, rows: Vec::new() }
    }

    /// A measure: medians, how far they spread, and ratios to direct. Prints them.
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
        let mut direct = None;
        for (way, samples) in WAYS.iter().zip(samples) {
            let mut values: Vec<f64> = samples.iter().map(|s| unit.shown(of(s))).collect();
            values.sort_by(f64::total_cmp);
            let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
                cells += &format!("{:>24}", "—");
                continue;
            };
            let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
            let spread = if median > 0.0 { (most - least) / 2.0 / median * 100.0 } else { 0.0 };
            cells += &format!(" {:>9} ±{spread:>3.0}%", short(median));
            let ratio = direct.map(|direct: f64| median / direct);
            if let Some(ratio) = ratio {
                cells += &format!(" ×{ratio:<6.2}");
            }
            if *way == WAYS[0] {
                direct = Some(median);
            }
            ways.insert(
                (*way).to_owned(),
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
