//! The disk as a map: a strip to scale, and below it a row for each partition with what fills it.
//!
//! What would be too narrow to be seen gets a least width, a dashed border and the words that it is not to scale; all
//! others share one scale, which the ruler below the strip shows.

use super::facts::{Inspection, SealFacts, SlotFacts, SlotState};
use super::text::size;
use crate::image::reader::FoundPartition;
use crate::site::Bytes;
use crate::svg::{Page, escape, shortened, text_width};
use handoff::partition::Role;
use handoff::slot::Slot;

const WIDTH: i64 = 960;
const LEFT: i64 = 16;
/// How wide the strip is.
const STRIP: i64 = WIDTH - 2 * LEFT;
const STRIP_TOP: i64 = 64;
const STRIP_HEIGHT: i64 = 40;
/// Wide enough for a number of two digits; less where there are more partitions than fit.
const LEAST: i64 = 20;
const ROWS_TOP: i64 = 160;
const ROW: i64 = 26;
const BAR: i64 = 14;
/// Where the bars of the rows begin, and how wide a full one is.
const BARS: (i64, i64) = (232, 180);
/// Where the words behind them begin.
const WORDS: i64 = 590;
/// About as many characters fit behind the bars, and in a line of the page.
const LONGEST: (usize, usize) = (50, 130);

/// Drawn in front of everything else on the page; the colours of the page's texts are the page's own.
const STYLE: &str = "<style>.free{fill:none;stroke:#8c959f}.room{fill:#8c959f;fill-opacity:.25}.small{stroke:#1f2328;\
stroke-dasharray:3 2}.inside{fill:#fff;font-weight:600;pointer-events:none}.ruler{stroke:#59636e}.bad{fill:#b35900}\
@media(prefers-color-scheme:dark){.small{stroke:#e6edf3}.ruler{stroke:#9198a1}.bad{fill:#f0883e}.inside{fill:#fff}}\
</style>\n";

/// One colour for each kind of partition, dark enough for white words on it.
fn colour(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Esp) => "#2f7fb5",
        Some(Role::Control) => "#8f5d00",
        Some(Role::Boot(_)) => "#005b96",
        Some(Role::Root(_)) => "#00795a",
        Some(Role::Verity(_)) => "#7a6b00",
        Some(Role::Seal(_)) => "#a04a7d",
        Some(Role::Secret) => "#b0430a",
        Some(Role::Data) => "#6a56a3",
        None => "#6e7781",
    }
}

/// The map.
#[must_use]
pub fn to_svg(inspection: &Inspection) -> String {
    let mut places = inspection.partitions.clone();
    places.sort_by_key(|found| (found.offset.0, found.number));
    let mut body = String::from(STYLE);
    body.push_str(&strip(&places, inspection.size));
    let mut y = ROWS_TOP;
    for found in &places {
        body.push_str(&row(inspection, found, y));
        y += ROW;
    }
    for warning in &inspection.warnings {
        let words = shortened(warning, LONGEST.1);
        body.push_str(&format!(
            "<g class=\"warning\"><title>{}</title><text class=\"bad\" x=\"{LEFT}\" y=\"{}\">warning: {}</text></g>\n",
            escape(warning),
            y + 12,
            escape(&words)
        ));
        y += ROW - 6;
    }
    let name = inspection.path.file_name().unwrap_or(inspection.path.as_os_str()).to_string_lossy();
    let title = match inspection.seal() {
        Some(seal) => format!("{name}: node {} of site {}", seal.node, seal.site),
        None => format!("{name}: no seal"),
    };
    let [a, b] = &inspection.slots;
    let summary = format!(
        "{}, {} partitions; slot a: {}; slot b: {}",
        size(inspection.size.0),
        places.len(),
        slot_words(a),
        slot_words(b)
    );
    let summary = shortened(&summary, LONGEST.1);
    Page { width: WIDTH, height: y + 12, title: &shortened(&title, LONGEST.1), summary: &summary }
        .around(&body)
}

/// A stretch of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    /// Which partition it is; `None` for one that belongs to no partition.
    partition: Option<usize>,
    bytes: u64,
    width: i64,
    to_scale: bool,
}

/// Divides the strip: a partition for which the common scale leaves less than [`LEAST`] gets that, and the rest is
/// shared by the others in proportion. Free stretches that nobody would see are left out.
fn layout(places: &[FoundPartition], disk: Bytes) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut reached = 0_u64;
    let free = |from: u64, to: u64| Stretch {
        partition: None,
        bytes: to.saturating_sub(from),
        width: 0,
        to_scale: true,
    };
    for (number, found) in places.iter().enumerate() {
        stretches.push(free(reached, found.offset.0));
        stretches.push(Stretch { partition: Some(number), bytes: found.size.0, width: 0, to_scale: true });
        reached = reached.max(found.offset.0.saturating_add(found.size.0));
    }
    stretches.push(free(reached, disk.0));
    let least = i64::try_from(places.len()).map_or(1, |count| STRIP / count.max(1)).clamp(1, LEAST);
    loop {
        let small = stretches.iter().filter(|stretch| !stretch.to_scale).count();
        let room = STRIP - least.saturating_mul(i64::try_from(small).unwrap_or(STRIP));
        let total: u128 = stretches
            .iter()
            .filter(|stretch| stretch.to_scale)
            .map(|stretch| u128::from(stretch.bytes))
            .sum();
        for stretch in &mut stretches {
            stretch.width = if stretch.to_scale { scaled(stretch.bytes, room, total) } else { least };
        }
        let narrow =
            |stretch: &&mut Stretch| stretch.to_scale && stretch.partition.is_some() && stretch.width < least;
        let mut more = false;
        for stretch in stretches.iter_mut().filter(narrow) {
            stretch.to_scale = false;
            more = true;
        }
        if !more {
            break;
        }
    }
    stretches.retain(|stretch| stretch.width > 0);
    stretches
}

/// `bytes` of `total` on so many pixels.
fn scaled(bytes: u64, room: i64, total: u128) -> i64 {
    let room = u128::try_from(room.max(0)).unwrap_or(0);
    i64::try_from(u128::from(bytes) * room / total.max(1)).unwrap_or(0)
}

fn strip(places: &[FoundPartition], disk: Bytes) -> String {
    let stretches = layout(places, disk);
    let mut out = String::from("<g>\n");
    let mut x = LEFT;
    for stretch in &stretches {
        let found = stretch.partition.and_then(|number| places.get(number));
        out.push_str(&match found {
            Some(found) => segment(found, *stretch, x),
            None => free(*stretch, x),
        });
        x += stretch.width;
    }
    out.push_str(&ruler(&stretches));
    out.push_str("</g>\n");
    out
}

/// What belongs to no partition, with its name where there is room for it.
fn free(stretch: Stretch, x: i64) -> String {
    let (width, bytes) = (stretch.width, size(stretch.bytes));
    let words = format!("free: {bytes}");
    let words = if text_width(&words) + 8 <= width { words } else { String::new() };
    format!(
        "<g class=\"stretch\"><title>free: {bytes}</title><rect class=\"free\" x=\"{x}\" y=\"{STRIP_TOP}\" \
         width=\"{width}\" height=\"{STRIP_HEIGHT}\"/>\
         <text class=\"soft middle\" x=\"{middle}\" y=\"{baseline}\">{words}</text></g>\n",
        middle = x + width / 2,
        baseline = STRIP_TOP + STRIP_HEIGHT / 2 + 4,
    )
}

fn segment(found: &FoundPartition, stretch: Stretch, x: i64) -> String {
    let (width, number) = (stretch.width, found.number.to_string());
    let words = if text_width(&found.name) + 8 <= width { &found.name } else { &number };
    let (class, note) = if stretch.to_scale { ("scaled", "") } else { ("small", ", not to scale") };
    format!(
        "<g class=\"stretch\"><title>{number} {name}: {bytes}{note}</title><rect class=\"{class}\" x=\"{inner_x}\" \
         y=\"{STRIP_TOP}\" width=\"{inner}\" height=\"{STRIP_HEIGHT}\" rx=\"2\" fill=\"{colour}\"/>\
         <text class=\"inside middle\" x=\"{middle}\" y=\"{baseline}\">{words}</text></g>\n",
        name = escape(&found.name),
        bytes = size(found.size.0),
        // A pixel between neighbours.
        inner_x = x + 1,
        inner = (width - 2).max(1),
        colour = colour(found.role),
        middle = x + width / 2,
        baseline = STRIP_TOP + STRIP_HEIGHT / 2 + 4,
        words = escape(words),
    )
}

/// A round length on the common scale, and what the dashed borders mean.
fn ruler(stretches: &[Stretch]) -> String {
    let y = STRIP_TOP + STRIP_HEIGHT + 18;
    let note = |x: i64| {
        format!(
            "<rect class=\"small\" fill=\"none\" x=\"{x}\" y=\"{top}\" width=\"12\" height=\"10\"/><text class=\"soft\" \
             x=\"{}\" y=\"{y}\">too small to be drawn to scale</text>\n",
            x + 18,
            top = y - 9
        )
    };
    let small = stretches.iter().any(|stretch| !stretch.to_scale);
    let (bytes, pixels) = stretches
        .iter()
        .filter(|stretch| stretch.to_scale)
        .fold((0_u128, 0_i64), |(bytes, pixels), stretch| {
            (bytes + u128::from(stretch.bytes), pixels + stretch.width)
        });
    // The longest power of two that fits into a quarter of the strip.
    let quarter = u128::try_from(STRIP / 4).unwrap_or(0);
    let longest = bytes * quarter / u128::try_from(pixels.max(1)).unwrap_or(1);
    let Some(length) = longest.checked_ilog2().map(|power| 1_u64.checked_shl(power).unwrap_or(u64::MAX))
    else {
        return if small { note(LEFT) } else { String::new() };
    };
    let width = scaled(length, pixels, bytes);
    let words = size(length);
    let behind = LEFT + width + 8;
    let mut out = format!(
        "<path class=\"ruler\" fill=\"none\" d=\"M{LEFT} {top}v8M{LEFT} {middle}h{width}M{end} {top}v8\"/>\
         <text class=\"soft\" x=\"{behind}\" y=\"{y}\">{words}</text>\n",
        top = y - 8,
        middle = y - 4,
        end = LEFT + width,
    );
    if small {
        out.push_str(&note(behind + text_width(&words) + 24));
    }
    out
}

/// Number, name, size, a bar with how much is used, and what is there.
fn row(inspection: &Inspection, found: &FoundPartition, y: i64) -> String {
    let baseline = y + 11;
    let (words, bad) = words(inspection, found);
    let used = inspection.used.get(&found.number);
    let (bars, full) = BARS;
    let filled = used.map_or(0, |used| scaled(used.0, full, u128::from(found.size.0)));
    let usage = match used {
        Some(used) => format!("{} of {}", size(used.0), size(found.size.0)),
        None => size(found.size.0),
    };
    // What is used at all is seen.
    let filled = if used.is_some_and(|used| used.0 > 0) { filled.max(2) } else { 0 };
    format!(
        "<g class=\"row\"><title>{number} {name}: {usage} at {offset}; {all}</title>\
         <rect x=\"{LEFT}\" y=\"{y}\" width=\"{BAR}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
         <text class=\"end\" x=\"{number_x}\" y=\"{baseline}\">{number}</text>\
         <text class=\"on\" x=\"{name_x}\" y=\"{baseline}\">{short}</text>\
         <rect class=\"room\" x=\"{bars}\" y=\"{y}\" width=\"{full}\" height=\"{BAR}\" rx=\"2\"/>\
         <rect class=\"used\" x=\"{bars}\" y=\"{y}\" width=\"{filled}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
         <text x=\"{usage_x}\" y=\"{baseline}\">{usage}</text>\
         <text class=\"{class}\" x=\"{WORDS}\" y=\"{baseline}\">{words}</text></g>\n",
        number = found.number,
        name = escape(&found.name),
        short = escape(&shortened(&found.name, 18)),
        offset = size(found.offset.0),
        colour = colour(found.role),
        number_x = LEFT + BAR + 26,
        name_x = LEFT + BAR + 36,
        usage_x = bars + full + 10,
        all = escape(&words),
        words = escape(&shortened(&words, LONGEST.0)),
        class = if bad { "bad" } else { "soft" },
    )
}

/// What lies in a partition, and whether it is something bad.
fn words(inspection: &Inspection, found: &FoundPartition) -> (String, bool) {
    let Some(role) = found.role else { return ("not of psyopsOS".into(), true) };
    match role {
        Role::Esp => esp_words(inspection),
        Role::Control => control_words(inspection),
        Role::Boot(slot) => boot_words(inspection, slot),
        Role::Root(slot) | Role::Verity(slot) => match &facts(inspection, slot).state {
            SlotState::Empty => ("empty".into(), false),
            SlotState::Bad { .. } => (format!("belongs to slot {slot}, which is bad"), true),
            SlotState::Whole { record, .. } if role == Role::Root(slot) => {
                (format!("squashfs of release {}", record.release), false)
            }
            SlotState::Whole { root, .. } => (format!("hash tree of root {root}"), false),
        },
        Role::Seal(slot) => seal_words(inspection, slot),
        Role::Secret => inspection.secret.as_ref().map_or_else(
            || ("no file system that can be read".into(), true),
            |secret| (format!("ext4, labelled {}", secret.label), false),
        ),
        Role::Data => ("logs and state that outlive a reboot".into(), false),
    }
}

fn esp_words(inspection: &Inspection) -> (String, bool) {
    let problem = inspection.warnings.iter().find_map(|warning| warning.strip_prefix("esp: "));
    problem
        .map_or_else(|| ("the selector, on FAT32".into(), false), |problem| (format!("bad: {problem}"), true))
}

fn control_words(inspection: &Inspection) -> (String, bool) {
    let Some(area) = &inspection.control else { return ("cannot be read".into(), true) };
    let whole = area.records.iter().filter(|record| record.is_ok()).count();
    (
        format!("{whole} of {} records hold, slot {} is first", area.records.len(), area.effective().first),
        whole < 2,
    )
}

fn boot_words(inspection: &Inspection, slot: Slot) -> (String, bool) {
    let facts = facts(inspection, slot);
    let tries = inspection.control.as_ref().map(|area| {
        let record = area.effective();
        let status = record.slots.get(slot);
        format!(": {}, {} of {} tries left", status.state, status.tries_left, record.tries)
    });
    match &facts.state {
        SlotState::Empty => ("empty".into(), false),
        SlotState::Bad { problem, .. } => (format!("bad: {problem}"), true),
        SlotState::Whole { record, .. } => {
            (format!("release {}{}", record.release, tries.unwrap_or_default()), false)
        }
    }
}

fn seal_words(inspection: &Inspection, slot: Slot) -> (String, bool) {
    let content = |facts: &&SealFacts| facts.slot == slot;
    match inspection.seals.iter().find(content).map(|facts| &facts.content) {
        None | Some(Ok(None)) => ("empty".into(), false),
        Some(Ok(Some((header, _)))) => (format!("serial {} for node {}", header.serial, header.node), false),
        Some(Err(problem)) => (format!("bad: {problem}"), true),
    }
}

fn facts(inspection: &Inspection, slot: Slot) -> &SlotFacts {
    let [a, b] = &inspection.slots;
    match slot {
        Slot::A => a,
        Slot::B => b,
    }
}

fn slot_words(facts: &SlotFacts) -> String {
    match &facts.state {
        SlotState::Empty => "empty".into(),
        SlotState::Whole { record, .. } => format!("release {}", record.release),
        SlotState::Bad { .. } => "bad".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use uuid::Uuid;

    fn places(sizes: &[u64]) -> Vec<FoundPartition> {
        let mut offset = 1 << 20;
        let place = |(size, number): (&u64, u32)| {
            let found = FoundPartition {
                number,
                name: format!("p{number}"),
                role: None,
                guid: Uuid::nil(),
                type_guid: Uuid::nil(),
                attributes: 0,
                offset: Bytes(offset),
                size: Bytes(*size),
            };
            offset = size.saturating_add(offset);
            found
        };
        sizes.iter().zip(1..).map(place).collect()
    }

    #[test]
    fn the_strip_is_full_and_large_parts_share_one_scale() {
        let mib = 1 << 20;
        let stretches = layout(&places(&[64 * mib, mib, 512 * mib, 1024 * mib]), Bytes(2048 * mib));
        let widths: Vec<(i64, bool)> =
            stretches.iter().map(|stretch| (stretch.width, stretch.to_scale)).collect();
        // The gap of a MiB at the beginning is not seen; the free end is.
        assert_eq!(widths[1], (LEAST, false));
        assert_eq!(widths.len(), 5, "{widths:?}");
        assert!(stretches[4].partition.is_none() && widths[4].0 > 150, "{widths:?}");
        assert!((widths[3].0 - 2 * widths[2].0).abs() <= 1 && widths[0].1, "{widths:?}");
        let total: i64 = widths.iter().map(|(width, _)| width).sum();
        assert!((STRIP - 6..=STRIP).contains(&total), "{total}");
    }

    #[test]
    fn tables_that_make_no_sense_are_drawn_too() {
        assert_eq!(layout(&[], Bytes(0)), []);
        let mut absurd = places(&[u64::MAX, u64::MAX, 0]);
        absurd[1].offset = Bytes(0);
        let stretches = layout(&absurd, Bytes(512));
        assert!(stretches.iter().all(|stretch| (1..=STRIP).contains(&stretch.width)), "{stretches:?}");
        let many = layout(&places(&[1 << 20; 128]), Bytes(1 << 30));
        let total: i64 = many.iter().map(|stretch| stretch.width).sum();
        assert!(many.len() >= 128 && total <= STRIP, "{total}");
    }

    #[test]
    fn an_image_is_drawn_with_what_is_wrong() {
        let fixture = fixture::image();
        let mut seen = super::super::inspect(&fixture.image.path).unwrap();
        let map = to_svg(&seen);
        for words in [
            "node demo of site site",
            "release 1.0: trying, 3 of 3 tries left",
            "3.0 MiB of ",
            "not to scale",
        ] {
            assert!(map.contains(words), "{words}: {map}");
        }
        assert_eq!(map.matches("class=\"row\"").count(), 11);
        assert!(!map.contains("class=\"warning\""));
        seen.warnings.extend(["a<b".into(), "esp: no <FAT>".into()]);
        seen.partitions[0].name = "\"&\u{1}".into();
        let map = to_svg(&seen);
        assert!(map.contains("bad: no &lt;FAT&gt;</text>"), "{map}");
        assert!(map.contains("a&lt;b") && map.contains("&quot;&amp;\\u0001") && !map.contains('\u{1}'));
    }
}
