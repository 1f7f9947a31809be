//! Tests of verdicts and tables.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn rates(ours: &[f64], theirs: &[f64], unit: Unit) -> Measured {
    let mut measured = Measured::new("small_puts", "puts", unit);
    for (ours, theirs) in ours.iter().zip(theirs) {
        measured.add("holdall", "synced", *ours);
        measured.add("peer", "not synced", *theirs);
    }
    measured
}

#[test]
fn more_is_better_for_rates_and_less_for_times() {
    let ours = [50.0, 50.0, 50.0];
    let theirs = [100.0, 100.0, 100.0];
    let rate = rates(&ours, &theirs, Unit::PerSecond).times(0.5, "peer").ahead("peer");
    let verdicts = rate.verdicts();
    assert_eq!(verdicts[0].measured, 0.5);
    assert!(verdicts[0].reached);
    assert!(!verdicts[1].reached);

    let time = rates(&ours, &theirs, Unit::Seconds).times(2.0, "peer").times(3.0, "peer");
    let verdicts = time.verdicts();
    assert_eq!(verdicts[0].measured, 2.0);
    assert!(verdicts[0].reached);
    assert!(!verdicts[1].reached);
}

#[test]
fn the_volume_is_judged_whoever_was_first() {
    let mut measured = Measured::new("x", "y", Unit::PerSecond).times(0.5, "peer");
    measured.add("peer", "", 100.0);
    measured.add("holdall", "", 60.0);
    assert_eq!(measured.series[0].name, "holdall");
    assert_eq!(measured.verdicts()[0].measured, 0.6);
}

#[test]
fn figures_of_a_machine_that_is_not_quiet_are_not_to_be_trusted() {
    let mut measured = rates(&[60.0], &[100.0], Unit::PerSecond).times(0.5, "peer");
    assert!(!measured.table().contains("DO NOT TRUST"));
    measured.others = 0.42;
    assert!(measured.table().contains("DO NOT TRUST: other programs took 42 %"));
}

#[test]
fn figures_are_bounds_on_the_side_that_is_worse() {
    let rate = rates(&[10.0], &[1.0], Unit::PerSecond).figure(9.0).figure(11.0);
    let reached: Vec<bool> = rate.verdicts().iter().map(|verdict| verdict.reached).collect();
    assert_eq!(reached, [true, false]);
    let time = rates(&[10.0], &[1.0], Unit::Seconds).figure(9.0).figure(11.0);
    let reached: Vec<bool> = time.verdicts().iter().map(|verdict| verdict.reached).collect();
    assert_eq!(reached, [false, true]);
}

#[test]
fn what_was_not_measured_is_not_reached() {
    let measured = Measured::new("x", "y", Unit::Seconds).figure(1.0).ahead("nobody");
    assert!(measured.verdicts().iter().all(|verdict| !verdict.reached));
    assert!(measured.table().contains("NOT reached"));
}

#[test]
fn a_table_says_everything_once() {
    let measured = rates(&[41_234.0, 2_000_000.0, 3.0], &[82_468.0; 3], Unit::PerSecond)
        .times(0.5, "peer")
        .note("read this");
    let table = measured.table();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[0], ["small_puts: puts"]);
    assert_eq!(lines[2], ["holdall", "41.2 k/s", "3 /s", "2.00 M/s", "synced"]);
    assert_eq!(lines[3], ["peer", "82.5 k/s", "82.5 k/s", "82.5 k/s", "0.50 x", "not synced"]);
    assert_eq!(lines[4], ["target: 0.50 x peer: 0.50 x, reached"]);
    assert_eq!(lines[5], ["note: read this"]);
    let column = |line: usize, text: &str| table.lines().nth(line).unwrap().find(text);
    assert_eq!(column(1, "durability"), column(2, "synced"));
    assert_eq!(column(1, "durability"), column(3, "not synced"));
}

#[test]
fn units_are_shown_as_people_read_them() {
    assert_eq!(Unit::Seconds.show(0.0123), "12.3 ms");
    assert_eq!(Unit::Seconds.show(75.0), "75.00 s");
    assert_eq!(Unit::Bytes.show(256.0 * 1048576.0), "256.0 MiB");
    assert_eq!(Unit::BytesPerSecond.show(1.5e9), "1500 MB/s");
    assert_eq!(Unit::PerSecond.show(7.0), "7 /s");
}

#[test]
fn a_report_sums_up_and_names_what_failed() {
    let medium = Medium {
        file_system: "ext4".to_owned(),
        device: "/dev/vda".to_owned(),
        options: "rw".to_owned(),
        memory: false,
        processors: 2,
        kernel: "6".to_owned(),
    };
    let measured = vec![rates(&[1.0], &[2.0], Unit::PerSecond).ahead("peer")];
    let failures = vec![("import".to_owned(), "restic is missing".to_owned())];
    let report = Report { medium, rounds: 1, measured, failures };
    let summary = report.summary();
    assert!(summary.contains("NOT reached"), "{summary}");
    assert!(summary.contains("import: COULD NOT BE MEASURED: restic is missing"), "{summary}");
    let json = report.json();
    assert_eq!(json["measured"][0]["verdicts"][0]["reached"], false);
    assert_eq!(json["measured"][0]["series"][1]["figures"][0], 2.0);
}
