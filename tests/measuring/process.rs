//! What the kernel says about a process.

use std::fs::read_to_string;

/// The unit of times in `/proc/PID/stat`, in milliseconds: Linux shows programs 100
/// ticks a second on every machine.
const TICK: f64 = 10.0;

/// The CPU time that a process took so far, in user mode and in the kernel, in
/// milliseconds.
pub fn cpu_time(process: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{process}/stat")).expect("the process's times");
    // The second field is the command's name in brackets, which may hold spaces.
    let (_, fields) = stat.rsplit_once(')').expect("a command's name");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| -> f64 { fields[field].parse().expect("a number of ticks") };
    // utime and stime are the fields 14 and 15 of the whole line.
    (ticks(11) + ticks(12)) * TICK
}

/// The memory of a process, its share of shared pages included (PSS), in MiB.
pub fn memory(process: u32) -> f64 {
    let rollup = read_to_string(format!("/proc/{process}/smaps_rollup")).expect("its memory");
    rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|size| size.trim().parse::<f64>().ok())
        .expect("a size in kB")
        / 1024.0
}

/// How many bytes a process has had written to disks so far. Zero where the kernel does not
/// say.
pub fn written(process: u32) -> u64 {
    let counts = read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    counts
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"))
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// A process and all that descend from it at this moment.
pub fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        // Each thread keeps the list of the children that it made.
        let threads = std::fs::read_dir(format!("/proc/{parent}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = children.split_whitespace();
            family.extend(children.filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    family
}

/// The memory of a process that is in the machine's, shared pages counted whole, in MiB.
pub fn resident_memory(process: u32) -> f64 {
    status(process, "VmRSS:")
}

/// The most that [`resident_memory`] was since [`forget_peak`].
pub fn peak_memory(process: u32) -> f64 {
    status(process, "VmHWM:")
}

/// Begins to look for the peak anew.
pub fn forget_peak(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a new peak");
}

fn status(process: u32, name: &str) -> f64 {
    let status = read_to_string(format!("/proc/{process}/status")).expect("its state");
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|size| size.trim().parse::<f64>().ok())
        .expect("a size in kB")
        / 1024.0
}
