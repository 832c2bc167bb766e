//! Plots the ratios of a run as SVG: our figures relative to each rival, on one logarithmic axis, with the targets.

use std::fmt::Write as _;

use crate::latencies::Interval;
use crate::table::{Comparison, Row, Side, Target};

/// The layout, in pixels.
const WIDTH: f64 = 940.0;
const NAME_END: f64 = 320.0;
const RIVAL_END: f64 = 390.0;
const AXIS_START: f64 = 410.0;
const AXIS_END: f64 = 860.0;
const HEAD: f64 = 64.0;
const LINE: f64 = 20.0;
const GAP: f64 = 8.0;

/// Supports light and dark mode.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.paper { fill: #ffffff } .quiet { fill: #59636e } .title { font-weight: 600; font-size: 14px }
.grid { stroke: #d1d9e0 } .one { stroke: #59636e } .target { stroke: #1a7f37; stroke-width: 2 }
.good { fill: #1a7f37; opacity: 0.12 } .dot { fill: #59636e; stroke: #59636e; stroke-width: 2 }
.met { fill: #1a7f37; stroke: #1a7f37 } .missed { fill: #ffffff; stroke: #cf222e } .range { fill: #59636e }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .paper { fill: #0d1117 } .quiet { fill: #9198a1 }
.grid { stroke: #3d444d } .one { stroke: #9198a1 } .target { stroke: #3fb950 }
.good { fill: #3fb950; opacity: 0.18 } .dot { fill: #9198a1; stroke: #9198a1 }
.met { fill: #3fb950; stroke: #3fb950 } .missed { fill: #0d1117; stroke: #f85149 } .range { fill: #9198a1 }
}";

/// Draws all ratios of the rows; `None` if there are none. `subtitle` identifies the run.
pub(crate) fn render(subtitle: &str, rows: &[Row]) -> Option<String> {
    let groups: Vec<(&str, Vec<Comparison>)> =
        rows.iter().map(|row| (row.what(), row.comparisons())).collect();
    let axis = Axis::around(groups.iter().flat_map(|(_, comparisons)| comparisons))?;
    let (mut body, mut y) = (String::new(), HEAD);
    for (what, comparisons) in groups.iter().filter(|(_, comparisons)| !comparisons.is_empty()) {
        text(&mut body, NAME_END, y, "", "end", what);
        for comparison in comparisons {
            draw(&mut body, axis, y, comparison);
            y += LINE;
        }
        y += GAP;
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>Ours, in figures of each rival</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
        height = y + LINE,
    );
    text(&mut svg, 16.0, 20.0, "title", "start", "Ours, in figures of each rival");
    text(
        &mut svg,
        16.0,
        38.0,
        "quiet",
        "start",
        &format!("{subtitle}. Shaded: the target. Hollow: missed. Bar: 95 %."),
    );
    for (ratio, label) in axis.ticks() {
        let (x, class) = (axis.x(ratio), if label == "1x" { "one" } else { "grid" });
        line(&mut svg, class, x, HEAD - LINE / 2.0, y - GAP);
        text(&mut svg, x, y + GAP, "quiet", "middle", &label);
    }
    Some(svg + &body + "</svg>\n")
}

/// Draws a comparison: the rival, the targets, the dot and the ratio.
fn draw(svg: &mut String, axis: Axis, y: f64, comparison: &Comparison) {
    let Comparison { rival, ratio, interval, targets } = comparison;
    text(svg, RIVAL_END, y, "quiet", "end", rival.name());
    for Target { side, bound, .. } in targets {
        let bound = axis.x(*bound);
        let (from, to) = match side {
            Side::AtMost => (AXIS_START, bound),
            Side::AtLeast => (bound, AXIS_END),
        };
        let (top, width, height) = (y - LINE / 2.0, to - from, LINE);
        push(
            svg,
            format_args!(
                "<rect class=\"good\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            ),
        );
        line(svg, "target", bound, top, top + LINE);
    }
    let class = match targets.iter().map(|target| target.met).reduce(|all, met| all && met) {
        None => "dot",
        Some(true) => "dot met",
        Some(false) => "dot missed",
    };
    if let Some(Interval { low, high }) = interval {
        let (from, width, top) = (axis.x(*low), axis.x(*high) - axis.x(*low), y - 1.0);
        push(
            svg,
            format_args!(
                "<rect class=\"range\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"2\"/>"
            ),
        );
    }
    let x = axis.x(*ratio);
    push(svg, format_args!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
    text(svg, WIDTH - 16.0, y, "", "end", &format!("{ratio:.2}x"));
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    // The baseline is four pixels below the middle of a line.
    let y = y + 4.0;
    push(
        svg,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ),
    );
}

fn line(svg: &mut String, class: &str, x: f64, top: f64, bottom: f64) {
    push(
        svg,
        format_args!(
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"
        ),
    );
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a String takes every text");
}

/// The logarithmic axis, in decades.
#[derive(Clone, Copy, Debug)]
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis with room for all ratios, their targets, and 1.
    fn around<'a>(comparisons: impl Iterator<Item = &'a Comparison>) -> Option<Self> {
        let shown = |comparison: &'a Comparison| {
            let bounds = comparison.targets.iter().map(|target| target.bound);
            let ends = comparison.interval.iter().flat_map(|interval| [interval.low, interval.high]);
            bounds.chain(ends).chain([comparison.ratio]).filter(|shown| *shown > 0.0)
        };
        let decades = comparisons.flat_map(shown).map(f64::log10);
        let around = decades
            .map(|decade| (decade, decade))
            .reduce(|(from, to), (decade, _)| (from.min(decade), to.max(decade)));
        // Adds a tenth of a decade, so no dot is on the edge.
        around.map(|(from, to)| Self { from: from.min(0.0) - 0.1, to: to.max(0.0) + 0.1 })
    }

    /// The position of a ratio. Ratios of 0 or less are at the left edge.
    fn x(self, ratio: f64) -> f64 {
        let decade = if ratio > 0.0 { ratio.log10() } else { self.from };
        AXIS_START + (decade - self.from) / (self.to - self.from) * (AXIS_END - AXIS_START)
    }

    /// 1, 2 and 5 in each decade of the axis.
    fn ticks(self) -> impl Iterator<Item = (f64, String)> {
        (-6..=6)
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)))
            .filter(move |tick| (self.from..=self.to).contains(&tick.log10()))
            .map(|tick| (tick, format!("{}x", (tick * 1e6).round() / 1e6)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Goal, Rival, Unit};

    fn row(what: &'static str, ours: f64, rival: Rival, goal: Goal) -> Row {
        Row::new(what, Unit::Milliseconds, ours).beside(rival, 1.0).judged_by(goal)
    }

    #[test]
    fn met_and_missed_targets_look_different() {
        for (ours, goal, expected) in [
            (1.0, Goal::RatioAtMost(Rival::Limit, 1.5), "dot met"),
            (2.0, Goal::RatioAtMost(Rival::Limit, 1.5), "dot missed"),
            (2.0, Goal::RatioAtLeast(Rival::Limit, 1.5), "dot met"),
            (2.0, Goal::Below(3.0), "dot\""),
        ] {
            let svg = render("", &[row("a < b", ours, Rival::Limit, goal)]).expect("a ratio");
            assert!(svg.contains(expected), "{goal:?}: {svg}");
            assert!(svg.contains("a &lt; b") && svg.contains(&format!("{ours:.2}x")), "{svg}");
        }
    }

    #[test]
    fn an_interval_is_a_bar_that_fits_on_the_axis() {
        let row = Row::new("a", Unit::Milliseconds, 1.0).beside(Rival::Limit, 1.0);
        let svg = |row| render("", &[row]).expect("a ratio");
        assert!(!svg(row.clone()).contains("\"range\""));
        let (low, high) = (0.5, 8.0);
        let row = row.between(Rival::Limit, Interval { low, high });
        let axis = Axis::around(row.comparisons().iter()).expect("a ratio");
        assert!(AXIS_START < axis.x(low) && axis.x(high) < AXIS_END);
        assert!(svg(row).contains(&format!("\"range\" x=\"{:.1}\"", axis.x(low))));
    }

    #[test]
    fn without_a_rival_there_is_nothing_to_draw() {
        assert_eq!(render("", &[Row::new("a", Unit::Megabytes, 1.0)]), None);
    }

    #[test]
    fn the_axis_has_room_for_ratios_and_targets() {
        let rows = [
            row("low", 0.02, Rival::Go, Goal::RatioAtMost(Rival::Go, 0.05)),
            row("high", 3.0, Rival::Limit, Goal::RatioAtMost(Rival::Limit, 8.0)),
        ];
        let comparisons: Vec<Comparison> = rows.iter().flat_map(Row::comparisons).collect();
        let axis = Axis::around(comparisons.iter()).expect("ratios");
        let labels: Vec<String> = axis.ticks().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0.02x", "0.05x", "0.1x", "0.2x", "0.5x", "1x", "2x", "5x", "10x"]);
        for ratio in [0.02, 0.05, 1.0, 3.0, 8.0] {
            assert!((AXIS_START..=AXIS_END).contains(&axis.x(ratio)), "{ratio}");
        }
    }
}
