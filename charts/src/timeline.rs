//! The steps of a boot on a common axis, whose zero is the kernel's start, and which of them the end of the boot waited
//! for.

use handoff::report::{BootReport, Step, StepKind};

/// The most services that are drawn: those that took longest.
const MOST_SERVICES: usize = 16;
/// Times in reports are whole milliseconds: a step and the next one may seem to overlap by one.
const ROUNDING: i64 = 1;
/// The longest time of a report that is drawn, 35 years: so nothing that is computed from the times of any report can
/// overflow.
const LONGEST: i64 = 1 << 40;

/// The part of the boot that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// The firmware.
    Firmware,
    /// The selector.
    Selector,
    /// A step of the report.
    Step(StepKind),
}

impl RowKind {
    /// All kinds, in the order of a boot.
    pub const ALL: [Self; 7] = [
        Self::Firmware,
        Self::Selector,
        Self::Step(StepKind::Kernel),
        Self::Step(StepKind::Loader),
        Self::Step(StepKind::Wait),
        Self::Step(StepKind::Configure),
        Self::Step(StepKind::Service),
    ];

    /// The word for it in charts and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Selector => "selector",
            Self::Step(kind) => kind.word(),
        }
    }
}

/// A step of the boot, with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name of the step in the report.
    pub name: String,
    /// The part of the boot that it belongs to.
    pub kind: RowKind,
    /// When it began, in milliseconds from the kernel's start; negative before that.
    pub start: i64,
    /// When it ended, on the same scale.
    pub end: i64,
    /// Whether the end of the boot waited for it.
    pub critical: bool,
}

impl Row {
    /// How long it took, in milliseconds.
    #[must_use]
    pub fn took(&self) -> i64 {
        self.end.saturating_sub(self.start)
    }
}

/// The content of a boot chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Node, site, release, slot and outcome of the boot, in one line.
    pub title: String,
    /// The rows, sorted by their beginning.
    pub rows: Vec<Row>,
    /// How many services are left out, because others took longer.
    pub left_out: usize,
}

impl Timeline {
    /// The timeline of a boot report.
    #[must_use]
    pub fn of(report: &BootReport) -> Self {
        let mut rows = before_the_kernel(report);
        let (services, steps): (Vec<&Step>, Vec<&Step>) =
            report.steps.iter().partition(|step| step.kind == StepKind::Service);
        rows.extend(steps.into_iter().map(row));
        let mut services: Vec<Row> = services.into_iter().map(row).collect();
        services.sort_by_key(|row| -row.took());
        let left_out = services.len().saturating_sub(MOST_SERVICES);
        services.truncate(MOST_SERVICES);
        rows.extend(services);
        // If two begin at the same time, the longer one contains the other.
        rows.sort_by_key(|row| (row.start, -row.end));
        mark_critical(&mut rows);
        Self { title: title(report), rows, left_out }
    }

    /// The part that begins with the step `name`; `None` if there is no such step.
    #[must_use]
    pub fn from(mut self, name: &str) -> Option<Self> {
        let start = self.rows.iter().find(|row| row.name == name)?.start;
        self.rows.retain(|row| row.start >= start);
        Some(self)
    }

    /// The beginning of the first row in milliseconds.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.rows.iter().map(|row| row.start).min().unwrap_or(0)
    }

    /// The end of the last row in milliseconds.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.rows.iter().map(|row| row.end).max().unwrap_or(0).max(1)
    }

    /// When the node was ready: the end of the configuration run, or of the last step without one.
    #[must_use]
    pub fn ready(&self) -> i64 {
        self.rows.iter().filter(|row| is_main(row)).map(|row| row.end).max().unwrap_or(0)
    }
}

/// A time of a report, limited to [`LONGEST`].
fn milliseconds(time: u64) -> i64 {
    i64::try_from(time).map_or(LONGEST, |time| time.min(LONGEST))
}

fn before_the_kernel(report: &BootReport) -> Vec<Row> {
    let selector = -milliseconds(report.selector_ms.unwrap_or(0));
    let firmware = selector - milliseconds(report.firmware_ms.unwrap_or(0));
    let row = |name: &str, kind, start, end| Row { name: name.into(), kind, start, end, critical: false };
    let mut rows = vec![
        row("firmware", RowKind::Firmware, firmware, selector),
        row("selector", RowKind::Selector, selector, 0),
    ];
    rows.retain(|row| row.took() > 0);
    rows
}

fn row(step: &Step) -> Row {
    let start = milliseconds(step.start_ms);
    let end = start + milliseconds(step.took_ms);
    Row { name: step.name.clone(), kind: RowKind::Step(step.kind), start, end, critical: false }
}

/// Services may continue after the node is ready.
fn is_main(row: &Row) -> bool {
    row.kind != RowKind::Step(StepKind::Service)
}

/// Goes back from the end: the step that ended last before a row began is the one that the row waited for. Waits inside
/// a marked row are marked as well.
fn mark_critical(rows: &mut [Row]) {
    let mut next = rows.iter().enumerate().filter(|(_, row)| is_main(row)).max_by_key(|(_, row)| row.end);
    let mut path = Vec::new();
    while let Some((position, row)) = next {
        path.push(position);
        let start = row.start;
        // A step without a duration (a service of which only its start is known) took no time to wait for.
        let before = |other: &Row| {
            other.took() > 0 && other.start < start && other.end <= start.saturating_add(ROUNDING)
        };
        next = rows
            .iter()
            .enumerate()
            .filter(|(_, other)| before(other))
            .max_by_key(|(_, other)| (other.end.min(start), other.took()));
    }
    let spans: Vec<(i64, i64)> =
        path.iter().filter_map(|position| rows.get(*position)).map(|row| (row.start, row.end)).collect();
    for (position, row) in rows.iter_mut().enumerate() {
        let inside = |(start, end): &(i64, i64)| *start <= row.start && row.end <= *end;
        let waits = row.kind == RowKind::Step(StepKind::Wait) && spans.iter().any(inside);
        row.critical = path.contains(&position) || waits;
    }
}

fn title(report: &BootReport) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".into());
    format!(
        "Boot of {} (site {}, release {}, slot {}): {}",
        word(&report.node),
        word(&report.site),
        word(&report.release),
        word(&report.slot),
        report.outcome
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, kind: StepKind, start_ms: u64, took_ms: u64) -> Step {
        Step { name: name.into(), kind, start_ms, took_ms }
    }

    fn report(steps: Vec<Step>) -> BootReport {
        BootReport { firmware_ms: Some(2000), selector_ms: Some(500), steps, ..BootReport::default() }
    }

    #[test]
    fn times_of_any_size_are_drawn() {
        let last = step("configure", StepKind::Configure, u64::MAX, u64::MAX);
        let report = BootReport {
            firmware_ms: Some(u64::MAX),
            selector_ms: Some(u64::MAX),
            steps: vec![step("kernel", StepKind::Kernel, 0, 1), last],
            ..BootReport::default()
        };
        let timeline = Timeline::of(&report);
        assert_eq!((timeline.start(), timeline.end()), (-2 * LONGEST, 2 * LONGEST));
        assert!(crate::boot_chart::draw(&timeline).ends_with("</svg>\n"));
    }

    fn critical(timeline: &Timeline) -> Vec<&str> {
        timeline.rows.iter().filter(|row| row.critical).map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn a_chain_of_steps_is_critical_and_parallel_steps_are_not() {
        use StepKind::{Configure, Kernel, Loader, Service, Wait};
        let timeline = Timeline::of(&report(vec![
            step("kernel", Kernel, 0, 1000),
            step("modules", Loader, 1000, 200),
            step("seal", Loader, 1010, 50),
            step("disk-wait", Wait, 1210, 80),
            step("disk", Loader, 1200, 100),
            step("configure", Configure, 1500, 300),
            step("syslogd", Service, 1450, 0),
            step("sshd", Service, 1400, 900),
        ]));
        let path = ["firmware", "selector", "kernel", "modules", "disk", "disk-wait", "configure"];
        assert_eq!(critical(&timeline), path);
        assert_eq!((timeline.start(), timeline.ready(), timeline.end()), (-2500, 1800, 2300));
    }

    #[test]
    fn of_two_parallel_steps_the_one_that_ends_later_is_critical() {
        use StepKind::{Kernel, Loader};
        let timeline = Timeline::of(&report(vec![
            step("kernel", Kernel, 0, 1000),
            step("modules", Loader, 1000, 400),
            step("seal", Loader, 1000, 300),
            // One millisecond early, because of rounding.
            step("root", Loader, 1399, 10),
        ]));
        assert_eq!(critical(&timeline), ["firmware", "selector", "kernel", "modules", "root"]);
    }

    #[test]
    fn a_partial_chart_begins_with_its_step() {
        use StepKind::{Kernel, Loader};
        let steps = vec![
            step("kernel", Kernel, 0, 1000),
            step("early", Loader, 1000, 1),
            step("root", Loader, 1001, 9),
        ];
        let part = Timeline::of(&report(steps)).from("early").unwrap();
        assert_eq!((part.rows.len(), part.start(), part.end()), (2, 1000, 1010));
        assert_eq!(part.from("poetry"), None);
    }

    #[test]
    fn the_longest_services_are_shown() {
        let services = (0..40).map(|number| step(&format!("s{number}"), StepKind::Service, 5000, number));
        let timeline = Timeline::of(&report(services.collect()));
        assert_eq!((timeline.rows.len(), timeline.left_out), (2 + MOST_SERVICES, 40 - MOST_SERVICES));
        assert!(
            timeline.rows.iter().all(|row| row.kind != RowKind::Step(StepKind::Service) || row.took() >= 24)
        );
    }

    #[test]
    fn a_report_without_steps_has_a_timeline_too() {
        let timeline = Timeline::of(&BootReport::default());
        assert_eq!((timeline.rows.len(), timeline.start(), timeline.end()), (0, 0, 1));
    }
}
