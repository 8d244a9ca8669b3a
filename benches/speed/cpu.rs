//! What processes cost: time of the processor and memory of their own, and what they write, from `/proc`.

use std::fs;
use std::path::Path;

/// Clock ticks a second, as Linux shows them to everybody.
const TICKS: f64 = 100.0;

/// Seconds of processor time of these process groups so far, ended children included.
pub fn seconds(groups: &[u32]) -> f64 {
    let ticks = |stat: Vec<String>| -> f64 {
        // utime, stime, cutime, cstime: fields 14 to 17.
        stat[11..15].iter().map(|n| n.parse::<f64>().expect("ticks")).sum()
    };
    members(groups).into_iter().map(|(_, stat)| ticks(stat)).sum::<f64>() / TICKS
}

/// Octets of memory of these process groups, what they share divided among them (PSS).
pub fn memory(groups: &[u32]) -> f64 {
    let pss = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap_or("0 kB");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("kB");
        kib * 1024.0
    };
    members(groups).into_iter().map(|(pid, _)| pss(pid)).sum()
}

/// Octets that the running processes of these groups have written, to files and to clients.
pub fn written(groups: &[u32]) -> f64 {
    let octets = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("wchar: ")).unwrap_or("0");
        line.parse::<f64>().expect("octets")
    };
    members(groups).into_iter().map(|(pid, _)| octets(pid)).sum()
}

/// The processes of these groups, with the fields of `stat` from the third (the state) on.
fn members(groups: &[u32]) -> Vec<(u32, Vec<String>)> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
        let stat = stat.ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        let group: u32 = fields.get(2)?.parse().ok()?;
        groups.contains(&group).then_some((pid, fields))
    })
    .collect()
}
