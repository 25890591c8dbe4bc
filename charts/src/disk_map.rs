//! The map of a disk: a strip to scale, and below it a row for each partition with a bar that shows how full it is.
//!
//! A partition that would be too narrow to be visible gets a minimum width, a dashed border and a note that it is not
//! to scale; all others share one scale, which the ruler below the strip shows.

use crate::page::{Page, escape, shortened, text_width};
use crate::size::size;
use handoff::partition::Role;

const WIDTH: i64 = 960;
const LEFT: i64 = 16;
/// The width of the strip.
const STRIP: i64 = WIDTH - 2 * LEFT;
const STRIP_TOP: i64 = 64;
const STRIP_HEIGHT: i64 = 40;
/// The minimum width of a partition: enough for a number of two digits, but less if more partitions than fit.
const LEAST: i64 = 20;
const ROWS_TOP: i64 = 160;
const ROW: i64 = 26;
const BAR: i64 = 14;
/// Where the bars of the rows begin, and the width of a full one.
const BARS: (i64, i64) = (232, 180);
/// Where the words after the bars begin.
const WORDS: i64 = 590;
/// About how many characters fit after the bars, and in a line of the page.
const LONGEST: (usize, usize) = (50, 130);

/// Written before everything else on the page; the colours of the page's texts are those of the page.
const STYLE: &str = "<style>.free{fill:none;stroke:#8c959f}.room{fill:#8c959f;fill-opacity:.25}.small{stroke:#1f2328;\
stroke-dasharray:3 2}.inside{fill:#fff;font-weight:600;pointer-events:none}.ruler{stroke:#59636e}.bad{fill:#b35900}\
@media(prefers-color-scheme:dark){.small{stroke:#e6edf3}.ruler{stroke:#9198a1}.bad{fill:#f0883e}.inside{fill:#fff}}\
</style>\n";

/// A colour for each kind of partition, dark enough for white words on it.
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

/// The content of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskMap {
    /// The heading; shortened if it does not fit.
    pub title: String,
    /// A line below the heading; shortened if it does not fit.
    pub summary: String,
    /// The size of the disk in bytes.
    pub size: u64,
    /// The partitions, in any order. They may overlap or reach beyond the disk: a damaged table is drawn as well.
    pub extents: Vec<Extent>,
    /// The lines below the partitions.
    pub warnings: Vec<String>,
}

/// A partition on the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The number in the partition table.
    pub number: u32,
    /// The name in the partition table.
    pub name: String,
    /// The role in psyopsOS, which decides the colour; `None` for another kind of partition.
    pub role: Option<Role>,
    /// The offset on the disk in bytes.
    pub offset: u64,
    /// The size in bytes.
    pub size: u64,
    /// How many of its bytes are filled, if that is known.
    pub used: Option<u64>,
    /// A description of the content.
    pub content: Content,
}

/// A description of a partition's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The words; shortened if they do not fit, and complete in the tooltip.
    pub words: String,
    /// Whether something is wrong: the words are then drawn in the colour of warnings.
    pub bad: bool,
}

/// The map as an SVG file.
#[must_use]
pub fn draw(map: &DiskMap) -> String {
    let mut extents: Vec<&Extent> = map.extents.iter().collect();
    extents.sort_by_key(|extent| (extent.offset, extent.number));
    let mut body = String::from(STYLE);
    body.push_str(&strip(&extents, map.size));
    let mut y = ROWS_TOP;
    for extent in extents {
        body.push_str(&row(extent, y));
        y += ROW;
    }
    for warning in &map.warnings {
        let words = shortened(warning, LONGEST.1);
        body.push_str(&format!(
            "<g class=\"warning\"><title>{}</title><text class=\"bad\" x=\"{LEFT}\" y=\"{}\">warning: {}</text></g>\n",
            escape(warning),
            y + 12,
            escape(&words)
        ));
        y += ROW - 6;
    }
    let (title, summary) = (shortened(&map.title, LONGEST.1), shortened(&map.summary, LONGEST.1));
    Page { width: WIDTH, height: y + 12, title: &title, summary: &summary }.around(&body)
}

/// A part of the strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    /// The index of the partition; `None` for free space.
    partition: Option<usize>,
    bytes: u64,
    width: i64,
    to_scale: bool,
}

/// Divides the strip: a partition for which the common scale leaves less than [`LEAST`] gets that, and the rest is
/// shared by the others in proportion. Free space that would be invisible is left out.
fn layout(extents: &[&Extent], disk: u64) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut reached = 0_u64;
    let free = |from: u64, to: u64| Stretch {
        partition: None,
        bytes: to.saturating_sub(from),
        width: 0,
        to_scale: true,
    };
    for (number, extent) in extents.iter().enumerate() {
        stretches.push(free(reached, extent.offset));
        stretches.push(Stretch { partition: Some(number), bytes: extent.size, width: 0, to_scale: true });
        reached = reached.max(extent.offset.saturating_add(extent.size));
    }
    stretches.push(free(reached, disk));
    let least = i64::try_from(extents.len()).map_or(1, |count| STRIP / count.max(1)).clamp(1, LEAST);
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

/// The width in pixels of `bytes`, if `total` has `room` pixels.
fn scaled(bytes: u64, room: i64, total: u128) -> i64 {
    let room = u128::try_from(room.max(0)).unwrap_or(0);
    i64::try_from(u128::from(bytes) * room / total.max(1)).unwrap_or(0)
}

fn strip(extents: &[&Extent], disk: u64) -> String {
    let stretches = layout(extents, disk);
    let mut out = String::from("<g>\n");
    let mut x = LEFT;
    for stretch in &stretches {
        let extent = stretch.partition.and_then(|number| extents.get(number));
        out.push_str(&match extent {
            Some(extent) => segment(extent, *stretch, x),
            None => free(*stretch, x),
        });
        x += stretch.width;
    }
    out.push_str(&ruler(&stretches));
    out.push_str("</g>\n");
    out
}

/// Free space, with its name if there is room for it.
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

fn segment(extent: &Extent, stretch: Stretch, x: i64) -> String {
    let (width, number) = (stretch.width, extent.number.to_string());
    let words = if text_width(&extent.name) + 8 <= width { &extent.name } else { &number };
    let (class, note) = if stretch.to_scale { ("scaled", "") } else { ("small", ", not to scale") };
    format!(
        "<g class=\"stretch\"><title>{number} {name}: {bytes}{note}</title><rect class=\"{class}\" x=\"{inner_x}\" \
         y=\"{STRIP_TOP}\" width=\"{inner}\" height=\"{STRIP_HEIGHT}\" rx=\"2\" fill=\"{colour}\"/>\
         <text class=\"inside middle\" x=\"{middle}\" y=\"{baseline}\">{words}</text></g>\n",
        name = escape(&extent.name),
        bytes = size(extent.size),
        // One pixel is left between neighbours.
        inner_x = x + 1,
        inner = (width - 2).max(1),
        colour = colour(extent.role),
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
    // The largest power of two that fits into a quarter of the strip.
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

/// Number, name, size, a bar with how much is used, and a description of the content.
fn row(extent: &Extent, y: i64) -> String {
    let baseline = y + 11;
    let Content { words, bad } = &extent.content;
    let used = extent.used;
    let (bars, full) = BARS;
    let filled = used.map_or(0, |used| scaled(used, full, u128::from(extent.size)));
    let usage = match used {
        Some(used) => format!("{} of {}", size(used), size(extent.size)),
        None => size(extent.size),
    };
    // A partition that is not empty shows a visible bar.
    let filled = if used.is_some_and(|used| used > 0) { filled.max(2) } else { 0 };
    format!(
        "<g class=\"row\"><title>{number} {name}: {usage} at {offset}; {all}</title>\
         <rect x=\"{LEFT}\" y=\"{y}\" width=\"{BAR}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
         <text class=\"end\" x=\"{number_x}\" y=\"{baseline}\">{number}</text>\
         <text class=\"on\" x=\"{name_x}\" y=\"{baseline}\">{short}</text>\
         <rect class=\"room\" x=\"{bars}\" y=\"{y}\" width=\"{full}\" height=\"{BAR}\" rx=\"2\"/>\
         <rect class=\"used\" x=\"{bars}\" y=\"{y}\" width=\"{filled}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
         <text x=\"{usage_x}\" y=\"{baseline}\">{usage}</text>\
         <text class=\"{class}\" x=\"{WORDS}\" y=\"{baseline}\">{words}</text></g>\n",
        number = extent.number,
        name = escape(&extent.name),
        short = escape(&shortened(&extent.name, 18)),
        offset = size(extent.offset),
        colour = colour(extent.role),
        number_x = LEFT + BAR + 26,
        name_x = LEFT + BAR + 36,
        usage_x = bars + full + 10,
        all = escape(words),
        words = escape(&shortened(words, LONGEST.0)),
        class = if *bad { "bad" } else { "soft" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(sizes: &[u64]) -> Vec<Extent> {
        let mut offset = 1 << 20;
        let extent = |(size, number): (&u64, u32)| {
            let extent = Extent {
                number,
                name: format!("p{number}"),
                role: None,
                offset,
                size: *size,
                used: None,
                content: Content { words: "empty".into(), bad: false },
            };
            offset = size.saturating_add(offset);
            extent
        };
        sizes.iter().zip(1..).map(extent).collect()
    }

    fn layout(extents: &[Extent], disk: u64) -> Vec<Stretch> {
        super::layout(&extents.iter().collect::<Vec<_>>(), disk)
    }

    #[test]
    fn the_strip_is_full_and_large_parts_share_one_scale() {
        let mib = 1 << 20;
        let stretches = layout(&extents(&[64 * mib, mib, 512 * mib, 1024 * mib]), 2048 * mib);
        let widths: Vec<(i64, bool)> =
            stretches.iter().map(|stretch| (stretch.width, stretch.to_scale)).collect();
        // The gap of 1 MiB at the beginning is not drawn; the free end is.
        assert_eq!(widths[1], (LEAST, false));
        assert_eq!(widths.len(), 5, "{widths:?}");
        assert!(stretches[4].partition.is_none() && widths[4].0 > 150, "{widths:?}");
        assert!((widths[3].0 - 2 * widths[2].0).abs() <= 1 && widths[0].1, "{widths:?}");
        let total: i64 = widths.iter().map(|(width, _)| width).sum();
        assert!((STRIP - 6..=STRIP).contains(&total), "{total}");
    }

    #[test]
    fn invalid_tables_are_drawn_too() {
        assert_eq!(layout(&[], 0), []);
        let mut absurd = extents(&[u64::MAX, u64::MAX, 0]);
        absurd[1].offset = 0;
        let stretches = layout(&absurd, 512);
        assert!(stretches.iter().all(|stretch| (1..=STRIP).contains(&stretch.width)), "{stretches:?}");
        let many = layout(&extents(&[1 << 20; 128]), 1 << 30);
        let total: i64 = many.iter().map(|stretch| stretch.width).sum();
        assert!(many.len() >= 128 && total <= STRIP, "{total}");
    }

    #[test]
    fn partitions_are_drawn_in_their_order_on_the_disk() {
        let mut extents = extents(&[1 << 20, 1 << 20]);
        extents[1].content = Content { words: "<torn>".into(), bad: true };
        extents.reverse();
        let map = DiskMap {
            title: "a&b".into(),
            summary: "2 partitions".into(),
            size: 4 << 20,
            extents,
            warnings: vec!["p2 is <torn>".into()],
        };
        let drawn = draw(&map);
        let at = |words: &str| drawn.find(words).unwrap();
        assert!(
            at("<title>1 p1: 1.0 MiB at 1.0 MiB; empty</title>") < at("<title>2 p2: 1.0 MiB at 2.0 MiB;")
        );
        assert_eq!(drawn.matches("class=\"bad\"").count(), 2, "{drawn}");
        assert!(drawn.contains("warning: p2 is &lt;torn&gt;") && !drawn.contains("<torn>"), "{drawn}");
        assert!(drawn.contains("<title>a&amp;b</title>") && drawn.ends_with("</svg>\n"));
    }
}
