//! The chart of a boot: well-formed according to another program, and with the parts that a user needs.

use builder::report_file;
use charts::boot_chart::draw;
use charts::timeline::Timeline;
use handoff::report::{BootReport, Step, StepKind};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn report() -> BootReport {
    let step = |name: &str, kind, start_ms, took_ms| Step { name: name.into(), kind, start_ms, took_ms };
    BootReport {
        node: Some("a<b>&\"c\"\u{1b}".into()),
        firmware_ms: Some(2100),
        selector_ms: Some(900),
        steps: vec![
            step("kernel", StepKind::Kernel, 0, 1900),
            step("modules", StepKind::Loader, 1900, 300),
            step("disk-wait", StepKind::Wait, 2210, 80),
            step("disk", StepKind::Loader, 2200, 100),
            step("seal", StepKind::Loader, 1950, 20),
            step("configure", StepKind::Configure, 2700, 400),
            step("syslogd", StepKind::Service, 2600, 0),
        ],
        ..BootReport::default()
    }
}

/// Runs xmllint, whose exit code also tells whether the file is well-formed.
fn xpath(file: &Path, expression: &str) -> String {
    let output = Command::new("xmllint")
        .args(["--nonet", "--xpath", expression])
        .arg(file)
        .output()
        .expect("xmllint (package libxml2-utils) is needed");
    assert!(output.status.success(), "{expression}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn picture(report: &BootReport) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("boot.svg");
    fs::write(&file, draw(&Timeline::of(report))).unwrap();
    (folder, file)
}

#[test]
fn there_is_a_row_for_each_step_a_legend_and_a_critical_path() {
    let (_folder, file) = picture(&report());
    let rows = "//*[local-name()='g'][@class='row']";
    assert_eq!(xpath(&file, &format!("count({rows})")), "9");
    assert_eq!(
        xpath(&file, "string(/*[local-name()='svg']/*[local-name()='title'])"),
        "Boot of a<b>&\"c\"\\u001b (site ?, release ?, slot ?): ok"
    );
    assert!(xpath(&file, "string(//*[local-name()='desc'])").contains("6\u{2009}100 ms from power-on"));
    let critical = format!("count({rows}[contains(*[local-name()='title'], ', critical')])");
    // All but the seal, which was read beside the modules, and the service of which only the start is known.
    assert_eq!(xpath(&file, &critical), "7");
    assert_eq!(
        xpath(&file, "count(//*[local-name()='path'][@class='path'])"),
        "2",
        "one in the legend, one along the rows"
    );
    let legend = xpath(&file, "string((//*[local-name()='g'])[1])");
    for kind in ["firmware", "selector", "kernel", "loader", "wait", "configure", "service", "critical path"]
    {
        assert!(legend.contains(kind), "{kind} is not explained: {legend}");
    }
}

#[test]
fn bars_are_to_scale_and_kinds_differ_in_colour() {
    let (_folder, file) = picture(&report());
    let number = |name: &str, attribute: &str| -> i64 {
        let row =
            format!("//*[local-name()='g'][@class='row'][starts-with(*[local-name()='title'], '{name}:')]");
        xpath(&file, &format!("string({row}/*[local-name()='rect']/@{attribute})")).parse().unwrap()
    };
    let (kernel, modules) = (number("kernel", "width"), number("modules", "width"));
    assert!(
        (kernel * 300 - modules * 1900).abs() <= 1900 + 300,
        "{kernel} for 1900 ms, {modules} for 300 ms"
    );
    assert_eq!(number("kernel", "x"), number("selector", "x") + number("selector", "width"));
    let page: i64 = xpath(&file, "string(/*/@width)").parse().unwrap();
    assert!(number("configure", "x") + number("configure", "width") < page);
    assert!(number("syslogd", "width") > 0, "what took no time is seen too");
    let fills = xpath(&file, "//*[local-name()='g'][@class='row']/*[local-name()='rect']/@fill");
    let mut fills: Vec<&str> = fills.split_whitespace().collect();
    fills.sort_unstable();
    fills.dedup();
    assert_eq!(fills.len(), 7, "{fills:?}");
}

#[test]
fn the_picture_in_the_readme_is_of_the_report_beside_it() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    let report = report_file::read(&docs.join("boot.json")).unwrap();
    let drawn = draw(&Timeline::of(&report));
    assert_eq!(fs::read_to_string(docs.join("boot.svg")).unwrap(), drawn, "make picture draws it anew");
}

#[test]
fn the_command_draws_console_logs_and_reports_wrong_files() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("console.log");
    let text = format!("[    1.0] kernel\r\n{}{}\r\nlogin: ", handoff::marker::REPORT, report().to_json());
    fs::write(&log, text).unwrap();
    let psyops = |arguments: &[&str]| {
        let mut psyops = Command::new(env!("CARGO_BIN_EXE_psyops"));
        psyops.arg("boot-chart").args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let said = psyops(&["console.log", "--output", "boot.svg"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "boot.svg: 9 steps, ready after 3100 ms\n");
    assert_eq!(fs::read(folder.path().join("boot.svg")).unwrap(), psyops(&["console.log"]).stdout);
    let json: serde_json::Value = serde_json::from_slice(&psyops(&["console.log", "--json"]).stdout).unwrap();
    assert_eq!((&json["ready_ms"], json["rows"].as_array().unwrap().len()), (&3100.into(), 9));
    fs::write(folder.path().join("other"), "nothing\n").unwrap();
    let refused = psyops(&["other"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(65), "{error}");
    assert!(error.contains("other has no boot report") && error.contains("/run/psyops/boot.json"), "{error}");
    assert_eq!(psyops(&["missing"]).status.code(), Some(66));
    let from = psyops(&["console.log", "--from", "modules", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&from.stdout).unwrap();
    assert_eq!((&json["rows"][0]["name"], json["rows"].as_array().unwrap().len()), (&"modules".into(), 6));
    let error = psyops(&["console.log", "--from", "x"]).stderr;
    assert!(
        String::from_utf8_lossy(&error).contains("no step \"x\"; its steps are firmware, selector, kernel")
    );
}
