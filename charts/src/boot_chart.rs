//! The chart of a boot: a row with a bar for each step of a timeline, readable on light and dark pages and without
//! seeing colours.

use crate::page::{Page, escape, grouped, shortened, text_width};
use crate::timeline::{Row, RowKind, Timeline};
use handoff::report::StepKind;

const WIDTH: i64 = 960;
/// Where the bars begin: names are to the left.
const LEFT: i64 = 190;
/// Where the bars end: the time of the longest is to the right.
const RIGHT: i64 = 880;
const TOP: i64 = 84;
const ROW: i64 = 22;
const BAR: i64 = 14;
/// The smallest width of a bar: one that took no time is still visible.
const THINNEST: i64 = 2;
/// The longest name that fits before the bars.
const LONGEST_NAME: usize = 25;
/// The approximate number of lines over the axis.
const TICKS: i64 = 8;

/// Colours that people with any colour vision can tell apart (after Okabe and Ito), on white and on black.
fn colour(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Firmware => "#8a8a8a",
        RowKind::Selector => "#56b4e9",
        RowKind::Step(StepKind::Kernel) => "#0072b2",
        RowKind::Step(StepKind::Loader) => "#009e73",
        RowKind::Step(StepKind::Wait) => "#e69f00",
        RowKind::Step(StepKind::Configure) => "#cc79a7",
        RowKind::Step(StepKind::Service) => "#9a86c8",
    }
}

/// The chart as an SVG file.
#[must_use]
pub fn draw(timeline: &Timeline) -> String {
    let rows = i64::try_from(timeline.rows.len()).unwrap_or(0);
    let bottom = TOP + rows * ROW;
    let scale = Scale { start: timeline.start(), end: timeline.end() };
    let mut out = legend(timeline);
    out.push_str(&axis(&scale, bottom));
    out.push_str(&path(timeline, &scale));
    for (row, number) in timeline.rows.iter().zip(0_i64..) {
        out.push_str(&bar(row, TOP + number * ROW, &scale));
    }
    let page =
        Page { width: WIDTH, height: bottom + 30, title: &timeline.title, summary: &summary(timeline) };
    page.around(&out)
}

/// The horizontal scale of the times.
struct Scale {
    start: i64,
    end: i64,
}

impl Scale {
    fn x(&self, time: i64) -> i64 {
        let span = (self.end - self.start).max(1);
        LEFT + (time - self.start).saturating_mul(RIGHT - LEFT) / span
    }

    /// Round times, about [`TICKS`] of them.
    fn ticks(&self) -> Vec<i64> {
        let rough = ((self.end - self.start) / TICKS).max(1);
        let mut step = 1_i64;
        while step < rough {
            // 1, 2, 5, 10, 20, 50...
            step = if step.to_string().starts_with('2') { step / 2 * 5 } else { step.saturating_mul(2) };
        }
        let first = self.start.div_euclid(step) + i64::from(self.start.rem_euclid(step) > 0);
        let last = self.end.div_euclid(step);
        (first..=last).map(|number| number * step).collect()
    }
}

fn summary(timeline: &Timeline) -> String {
    let (start, ready) = (timeline.start(), timeline.ready());
    let mut text = format!("{} ms from the kernel's start to a configured node", grouped(ready));
    if timeline.rows.iter().any(|row| row.kind == RowKind::Firmware) {
        text.push_str(&format!(", {} ms from power-on", grouped(ready - start)));
    }
    if timeline.left_out > 0 {
        text.push_str(&format!("; {} shorter services are not shown", timeline.left_out));
    }
    text
}

/// The kinds that are in the chart, and what the line along the critical path means.
fn legend(timeline: &Timeline) -> String {
    let mut out = String::from("<g>\n");
    let (mut x, y) = (16, 66);
    let there = |kind: &RowKind| timeline.rows.iter().any(|row| row.kind == *kind);
    for kind in RowKind::ALL.into_iter().filter(there) {
        let (word, colour) = (kind.word(), colour(kind));
        out.push_str(&format!(
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" rx=\"2\" fill=\"{colour}\"/>\
             <text class=\"soft\" x=\"{}\" y=\"{y}\">{word}</text>\n",
            y - 9,
            x + 15
        ));
        x += 30 + text_width(word);
    }
    out.push_str(&format!(
        "<path class=\"path\" d=\"M{x} {line}h18\"/><text class=\"soft\" x=\"{}\" y=\"{y}\">critical path: what the \
         next one waited for</text>\n</g>\n",
        x + 24,
        line = y - 4
    ));
    out
}

fn axis(scale: &Scale, bottom: i64) -> String {
    let mut out = String::from("<g>\n");
    for time in scale.ticks() {
        let x = scale.x(time);
        out.push_str(&format!(
            "<path class=\"grid\" d=\"M{x} {top}V{bottom}\"/><text class=\"soft middle\" x=\"{x}\" y=\"{}\">{}</text>\n",
            bottom + 18,
            grouped(time),
            top = TOP - 6
        ));
    }
    out.push_str(&format!(
        "<text class=\"soft end\" x=\"{}\" y=\"{}\">ms</text>\n</g>\n",
        WIDTH - 16,
        bottom + 18
    ));
    out
}

/// The line along the rows of the critical path, below their bars and from the end of each to the next.
fn path(timeline: &Timeline, scale: &Scale) -> String {
    let mut commands = String::new();
    let mut last_end = i64::MIN;
    for (row, number) in timeline.rows.iter().zip(0_i64..).filter(|(row, _)| row.critical) {
        // A wait inside of the previous row is only marked by its name.
        if row.end <= last_end && row.kind == RowKind::Step(StepKind::Wait) {
            continue;
        }
        let y = TOP + number * ROW + BAR + 3;
        let (from, to) = (scale.x(row.start), scale.x(row.end));
        let first = if commands.is_empty() { 'M' } else { 'L' };
        commands.push_str(&format!("{first}{from} {y}H{} ", to.max(from + THINNEST)));
        last_end = row.end;
    }
    if commands.is_empty() {
        commands
    } else {
        format!("<path class=\"path\" d=\"{}\"/>\n", commands.trim_end())
    }
}

fn bar(row: &Row, y: i64, scale: &Scale) -> String {
    let x = scale.x(row.start);
    let width = (scale.x(row.end) - x).max(THINNEST);
    let took = match row.took() {
        0 if row.kind == RowKind::Step(StepKind::Service) => format!("from {} on", grouped(row.start)),
        took => format!("{} ms", grouped(took)),
    };
    let name = shortened(&row.name, LONGEST_NAME);
    let baseline = y + 11;
    let end = x + width;
    // To the right of the bar if there is room, or else to the left of its beginning.
    let (class, text_x) =
        if end + 6 + text_width(&took) <= WIDTH - 8 { ("", end + 6) } else { (" end", x - 6) };
    let weight = if row.critical { " on" } else { "" };
    let critical = if row.critical { ", critical" } else { "" };
    format!(
        "<g class=\"row\"><title>{full}: {from} to {to} ms, {kind}{critical}</title>\
         <text class=\"end{weight}\" x=\"{name_x}\" y=\"{baseline}\">{name}</text>\
         <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
         <text class=\"soft{class}{weight}\" x=\"{text_x}\" y=\"{baseline}\">{took}</text></g>\n",
        full = escape(&row.name),
        from = grouped(row.start),
        to = grouped(row.end),
        kind = row.kind.word(),
        name = escape(&name),
        name_x = LEFT - 8,
        colour = colour(row.kind),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale { start: -2500, end: 1800 }.ticks(), [-2000, -1000, 0, 1000]);
        assert_eq!(Scale { start: 0, end: 1 }.ticks(), [0, 1]);
        let ticks = Scale { start: -7, end: 123_456 }.ticks();
        assert_eq!((ticks.first(), ticks.last()), (Some(&0), Some(&120_000)));
    }
}
