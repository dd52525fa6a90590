// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Scatter charts as SVG: points and lines on linear or logarithmic axes, the number of every point on hovering.

use std::fmt::Write;

/// A chart.
pub struct Chart {
    pub title: String,
    pub subtitle: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

pub struct Axis {
    pub label: String,
    pub log: bool,
}

/// Points of one colour.
pub struct Series {
    pub name: String,
    pub colour: &'static str,
    pub radius: f64,
    pub points: Vec<Mark>,
    pub line: Line,
}

/// How the points of a series are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    None,
    Straight,
    Dashed,
    /// Along what the points dominate: right, then down.
    Steps,
}

impl Line {
    fn dash(self) -> &'static str {
        if self == Line::Dashed {
            " stroke-dasharray=\"6 5\""
        } else {
            ""
        }
    }
}

/// One point.
pub struct Mark {
    pub at: [f64; 2],
    /// Shown on hovering.
    pub title: String,
    /// Written beside the point; empty: nothing.
    pub label: String,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 62.0;
/// Height of a letter, and width of an average one.
const FONT: f64 = 13.0;
const LETTER: f64 = 6.8;

/// Where values of an axis stand.
struct Scale {
    lo: f64,
    hi: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, log: bool, from: f64, to: f64) -> Scale {
        let usable = values.filter(|v| v.is_finite() && (!log || *v > 0.0));
        let place = |v: f64| if log { v.log10() } else { v };
        let (lo, hi) =
            usable.map(place).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let (lo, hi) = if lo > hi { (0.0, 1.0) } else { (lo, hi) };
        let least = if log { 0.15 } else { (hi.abs() * 0.2).max(1.0) };
        let margin = (hi - lo).max(least) * 0.06 + if hi - lo < least { least / 2.0 } else { 0.0 };
        Scale { lo: lo - margin, hi: hi + margin, log, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let v = if self.log { value.max(1e-12).log10() } else { value };
        self.from + (v - self.lo) / (self.hi - self.lo) * (self.to - self.from)
    }

    /// Values with a line: 1, 2, 5 and their decades, as many as are readable.
    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let raw = (self.hi - self.lo) / 7.0;
            let decade = 10f64.powf(raw.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|s| *s >= raw);
            let step = step.unwrap_or(raw);
            let first = (self.lo / step).ceil() as i64;
            return (first..=(self.hi / step).floor() as i64).map(|i| i as f64 * step).collect();
        }
        let decades = self.lo.floor() as i32..=self.hi.ceil() as i32;
        let all = |digits: &[f64]| -> Vec<f64> {
            let ticks = decades.clone().flat_map(|d| digits.iter().map(move |m| m * 10f64.powi(d)));
            ticks.filter(|t| (self.lo..=self.hi).contains(&t.log10())).collect()
        };
        let finest: Vec<f64> = (4..40).map(|i| i as f64 / 4.0).filter(|m| *m < 10.0).collect();
        let sets: [&[f64]; 5] =
            [&[1.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], &finest, &finest];
        let wanted = |t: &Vec<f64>| (4..=11).contains(&t.len());
        sets.iter().map(|s| all(s)).find(wanted).unwrap_or_else(|| all(sets[2]))
    }
}

impl Chart {
    /// The file's text.
    pub fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|s| &s.points);
        let x = Scale::new(all().map(|p| p.at[0]), self.x.log, LEFT, WIDTH - RIGHT);
        let y = Scale::new(all().map(|p| p.at[1]), self.y.log, HEIGHT - BOTTOM, TOP);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"{FONT}\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"28\" font-size=\"18\" font-weight=\"bold\" fill=\"#1a1a1a\">{title}</text>\n\
             <text x=\"{LEFT}\" y=\"48\" fill=\"#555555\">{subtitle}</text>\n",
            title = escape(&self.title),
            subtitle = escape(&self.subtitle),
        );
        self.axes(&mut out, &x, &y);
        self.legend(&mut out);
        for series in &self.series {
            draw(&mut out, series, &x, &y);
        }
        self.labels(&mut out, &x, &y);
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String, x: &Scale, y: &Scale) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for t in x.ticks() {
            let at = x.at(t);
            put(out, format_args!("<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#e4e4e4\"/>"));
            let y = bottom + 18.0;
            let n = number(t);
            put(
                out,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#333333\">{n}</text>"
                ),
            );
        }
        for t in y.ticks() {
            let at = y.at(t);
            put(out, format_args!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e4e4e4\"/>"));
            let (x, y, n) = (LEFT - 8.0, at + 4.5, number(t));
            put(
                out,
                format_args!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"#333333\">{n}</text>"),
            );
        }
        put(
            out,
            format_args!("<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333333\"/>"),
        );
        let (middle, below) = ((LEFT + right) / 2.0, HEIGHT - 16.0);
        let label = escape(&self.x.label);
        put(
            out,
            format_args!(
                "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#1a1a1a\">{label}</text>"
            ),
        );
        let (middle, label) = ((TOP + bottom) / 2.0, escape(&self.y.label));
        let turned = "text-anchor=\"middle\" fill=\"#1a1a1a\"";
        put(
            out,
            format_args!("<text transform=\"translate(20 {middle}) rotate(-90)\" {turned}>{label}</text>"),
        );
    }

    fn legend(&self, out: &mut String) {
        let (mut x, mut y) = (LEFT, 66.0);
        for s in self.series.iter().filter(|s| !s.name.is_empty()) {
            let wide = 21.0 + s.name.chars().count() as f64 * LETTER + 18.0;
            if x > LEFT && x + wide > WIDTH - 8.0 {
                (x, y) = (LEFT, y + 17.0);
            }
            let (colour, r, centre) = (s.colour, s.radius.clamp(3.0, 6.0), x + 7.0);
            if s.line != Line::None {
                let (a, b, dash) = (x - 2.0, x + 16.0, s.line.dash());
                let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\"{dash}");
                put(out, format_args!("<path d=\"M{a} {y}H{b}\" {stroke}/>"));
            }
            if s.radius > 0.0 {
                put(out, format_args!("<circle cx=\"{centre}\" cy=\"{y}\" r=\"{r}\" fill=\"{colour}\"/>"));
            }
            let (at, base, name) = (x + 21.0, y + 4.5, escape(&s.name));
            put(out, format_args!("<text x=\"{at}\" y=\"{base}\" fill=\"#333333\">{name}</text>"));
            x += wide;
        }
    }

    /// Labels beside their points, none on another.
    fn labels(&self, out: &mut String, x: &Scale, y: &Scale) {
        let marked = || self.series.iter().flat_map(|s| s.points.iter().map(move |p| (s, p)));
        // of points that have a label nothing is hidden either
        let mut taken: Vec<[f64; 4]> = marked()
            .filter(|(_, p)| !p.label.is_empty())
            .map(|(s, p)| (x.at(p.at[0]), y.at(p.at[1]), s.radius))
            .map(|(cx, cy, r)| [cx - r, cy - r, cx + r, cy + r])
            .collect();
        for (series, mark) in marked() {
            if mark.label.is_empty() {
                continue;
            }
            let (cx, cy) = (x.at(mark.at[0]), y.at(mark.at[1]));
            let width = mark.label.chars().count() as f64 * LETTER;
            let gap = series.radius + 5.0;
            let (beside, before, over) = (cx + gap, cx - gap - width, cx - width / 2.0);
            let near = [(over, -gap - 2.0), (over, gap + 11.0), (beside, 4.5), (before, 4.5)];
            let far = [-1.0, 1.0, -2.0, 2.0, -3.0, 3.0].map(|n| (beside, n * (FONT + 3.0) + 4.5));
            let places = near.into_iter().chain(far).map(|(left, dy)| (left, cy + dy));
            let free = |(left, base): &(f64, f64)| {
                let mine = [*left, base - FONT, left + width, base + 3.0];
                let apart =
                    |t: &[f64; 4]| mine[2] <= t[0] || t[2] <= mine[0] || mine[3] <= t[1] || t[3] <= mine[1];
                let inside = mine[0] > LEFT && mine[2] < WIDTH - 4.0;
                inside && mine[1] > TOP - 14.0 && mine[3] < HEIGHT - BOTTOM && taken.iter().all(apart)
            };
            let (right, top) = places.clone().find(free).unwrap_or((beside, cy + 4.5));
            taken.push([right, top - FONT, right + width, top + 3.0]);
            let label = escape(&mark.label);
            put(out, format_args!("<text x=\"{right:.1}\" y=\"{top:.1}\" fill=\"#1a1a1a\" stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\">{label}</text>"));
        }
    }
}

fn draw(out: &mut String, series: &Series, x: &Scale, y: &Scale) {
    let Series { colour, radius, points, line, .. } = series;
    let places: Vec<[f64; 2]> = points.iter().map(|p| [x.at(p.at[0]), y.at(p.at[1])]).collect();
    let mut path = String::new();
    for (i, [px, py]) in places.iter().enumerate() {
        let _ = match (i, line) {
            (0, _) => write!(path, "M{px:.1} {py:.1}"),
            (_, Line::Steps) => write!(path, "H{px:.1}V{py:.1}"),
            _ => write!(path, "L{px:.1} {py:.1}"),
        };
    }
    if *line != Line::None && places.len() > 1 {
        let dash = line.dash();
        put(
            out,
            format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash}/>"),
        );
    }
    for ([px, py], mark) in places.iter().zip(points).filter(|_| *radius > 0.0) {
        let title = escape(&mark.title);
        put(out, format_args!("<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"{radius}\" fill=\"{colour}\"><title>{title}</title></circle>"));
    }
}

fn put(out: &mut String, line: std::fmt::Arguments) {
    let _ = writeln!(out, "{line}");
}

/// 1234567 as 1.23 M.
pub fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e12 => (value / 1e12, " T"),
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = match scaled.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{scaled:.0}"),
        v if v >= 10.0 => format!("{scaled:.1}"),
        _ => format!("{scaled:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 7.5, 140.0, 9999.0, 53_200.0, 1_234_567.0, 2e9].map(number);
        assert_eq!(shown, ["0", "7.5", "140", "9999", "53.2 k", "1.23 M", "2 G"]);
    }

    #[test]
    fn axes_have_a_readable_number_of_ticks_at_any_range() {
        for log in [false, true] {
            for (lo, hi) in [(1.0, 1.0), (10.0, 12.0), (3.0, 90.0), (1e4, 9e6), (1.0, 1e9)] {
                let n = Scale::new([lo, hi].into_iter(), log, 0.0, 1.0).ticks().len();
                assert!((2..=12).contains(&n), "{lo} .. {hi}, log {log}: {n} ticks");
            }
        }
    }

    #[test]
    fn text_is_escaped() {
        let mark = Mark { at: [1.0, 2.0], title: "<b>".into(), label: "a & b".into() };
        let series = Series {
            name: "\"x\"".into(),
            colour: "#000000",
            radius: 3.0,
            points: vec![mark],
            line: Line::None,
        };
        let axis = || Axis { label: "n".into(), log: true };
        let chart =
            Chart { title: "t".into(), subtitle: "".into(), x: axis(), y: axis(), series: vec![series] };
        let svg = chart.svg();
        assert!(svg.contains("&lt;b&gt;") && svg.contains("a &amp; b") && svg.contains("&quot;x&quot;"));
        assert!(!svg.contains("NaN"));
    }
}
