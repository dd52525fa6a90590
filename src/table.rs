// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reports as text for the terminal.

use crate::classes::Class;
use crate::report::{Layer, LayerTime, Report, Simulation};
use std::fmt::Write;

/// Inputs whose classes are printed.
const SHOWN_INPUTS: usize = 10;
/// Boxes of one input that are printed.
const SHOWN_BOXES: usize = 10;

/// A report with its layers, notes, mismatches and verdict.
pub fn report(r: &Report) -> String {
    let mut text = format!("{} on {}, backend {}\n\n", r.model, r.config, r.backend);
    if !r.layers.is_empty() {
        text.push_str(&layers(&r.layers));
        text.push('\n');
    }
    for note in &r.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for m in &r.first_mismatches {
        let _ = writeln!(
            text,
            "input {}: {} at {:?} is {}, {} says {}",
            m.input, m.layer, m.at, m.got, m.against, m.expected
        );
    }
    let more = r.mismatches - r.first_mismatches.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "and {more} more values");
    }
    text.push_str(&verdict(r));
    text
}

/// What was found, one line each under a keyword.
fn verdict(r: &Report) -> String {
    let inputs = count(r.inputs, "input");
    let mut lines = Vec::new();
    for (i, top) in r.top_classes.iter().enumerate().take(SHOWN_INPUTS) {
        lines.push(("class", format!("input {i}: {}", top.iter().map(class).collect::<Vec<_>>().join(", "))));
    }
    if r.top_classes.len() > SHOWN_INPUTS {
        lines.push((
            "",
            format!("and {} more (--json prints all)", count(r.top_classes.len() - SHOWN_INPUTS, "input")),
        ));
    }
    for (i, found) in r.boxes.iter().enumerate().take(SHOWN_INPUTS) {
        lines.push(("boxes", format!("input {i}: {}", count_of(found.len(), "box", "boxes"))));
        for f in found.iter().take(SHOWN_BOXES) {
            let [left, top, right, bottom] = f.corners;
            let corners = format!("x {left:.0} to {right:.0}, y {top:.0} to {bottom:.0}");
            lines.push(("", format!("{}: {corners}", class(&f.class))));
        }
        if found.len() > SHOWN_BOXES {
            lines.push(("", format!("and {} more (--json prints all)", found.len() - SHOWN_BOXES)));
        }
    }
    if let Some(met) = r.labels_met {
        lines.push(("labels", format!("the best class is the label for {met} of {inputs}")));
    }
    lines.push(match (r.compared.is_empty(), r.equal) {
        (true, _) => ("done", format!("{inputs}; nothing was compared")),
        (_, true) => ("equal", format!("{}: every value of {inputs}", r.compared.join(", "))),
        (_, false) => ("DIFFERENT", format!("{} of {inputs}", count(r.mismatches as usize, "value"))),
    });
    lines.extend(cycles(r).map(|text| ("cycles", text)));
    lines.extend(r.simulation.as_ref().map(|s| ("speed", speed(s))));
    lines.extend(r.page.clone().map(|page| ("report", page)));
    lines.extend(r.waves.clone().map(|waves| ("waves", format!("gtkwave {waves}"))));
    lines.iter().map(|(key, text)| format!("{key:<9} {text}\n")).collect()
}

fn class(c: &Class) -> String {
    match &c.name {
        Some(name) => format!("{name} ({:.4})", c.score),
        None => format!("{} ({:.4})", c.class, c.score),
    }
}

fn cycles(r: &Report) -> Option<String> {
    let predicted = r.cycles_predicted?;
    let cycles = r.cycles_measured.unwrap_or(predicted);
    let micros = cycles as f64 / r.clock_mhz as f64;
    let rate = format!("{micros:.1} us at {} MHz", r.clock_mhz);
    Some(match (r.cycles_measured, r.cycle_mismatches) {
        (None, _) => format!("{predicted} predicted for an input, {rate}"),
        (Some(measured), None) => format!("{predicted} predicted, {measured} measured for input 0, {rate}"),
        (Some(measured), Some(0)) => format!("{measured} for each input, as predicted; {rate}"),
        (Some(measured), Some(n)) => {
            format!(
                "DIFFERENT for {}; input 0: {predicted} predicted, {measured} measured",
                count(n, "input")
            )
        }
    })
}

/// Speed of the simulation, and what it and its building took.
fn speed(s: &Simulation) -> String {
    let (mib, build) = (|bytes: u64| bytes >> 20, &s.build);
    format!(
        "{:.0} simulated cycles per second of CPU time, {} MiB; built in {:.0} s ({:.0} s of CPU time, {} MiB)",
        s.cycles_per_second,
        mib(s.peak_bytes),
        build.seconds,
        build.cpu_seconds,
        mib(build.peak_bytes)
    )
}

/// `1 input`, `2 inputs`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn count_of(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// What stands in a column: text, a number that adds up, or the utilisation.
enum Kind {
    Text(fn(&Layer) -> String),
    Sum(fn(&Layer) -> Option<u64>),
    Utilisation,
}

struct Column {
    /// Heading over neighbouring columns.
    group: &'static str,
    head: &'static str,
    kind: Kind,
}

const fn column(group: &'static str, head: &'static str, kind: Kind) -> Column {
    Column { group, head, kind }
}

fn lost(layer: &Layer, of: fn(&LayerTime) -> u64) -> Option<u64> {
    layer.time.as_ref().map(of)
}

const LOST: &str = "cycles lost to";
const COLUMNS: [Column; 16] = [
    column("", "layer", Kind::Text(|l| l.name.clone())),
    column("", "op", Kind::Text(|l| l.op.clone())),
    column("", "output", Kind::Text(|l| l.shape.map(|n| n.to_string()).join("x"))),
    column("bits", "act", Kind::Text(|l| bits(l.act_bits))),
    column("bits", "wgt", Kind::Text(|l| bits(l.wgt_bits))),
    column("", "MACs", Kind::Sum(|l| Some(l.macs))),
    column("cycles", "predicted", Kind::Sum(|l| l.cycles_predicted)),
    column("cycles", "measured", Kind::Sum(|l| l.cycles_measured)),
    column("", "utilised", Kind::Utilisation),
    column(LOST, "idle", Kind::Sum(|l| lost(l, |t| t.idle))),
    column(LOST, "fill", Kind::Sum(|l| lost(l, |t| t.fill))),
    column(LOST, "weights", Kind::Sum(|l| lost(l, |t| t.weights))),
    column(LOST, "post", Kind::Sum(|l| lost(l, |t| t.post))),
    column(LOST, "memory", Kind::Sum(|l| lost(l, |t| t.memory))),
    column(LOST, "control", Kind::Sum(|l| lost(l, |t| t.control))),
    column("", "exact", Kind::Text(|l| l.exact.map_or("", |e| if e { "yes" } else { "NO" }).into())),
];
/// These columns stand to the left, the others to the right.
const LEFT: usize = 3;
const LEGEND: &str = "\
utilised: share of the array's bricks x cycles that the layer's products need. Lost: idle = rows, lanes or columns without work;\n\
fill = the array fills and drains; weights = they shift in; post = results are finished; memory = transfers; control = the rest.\n";

const OVERLAP: &str = "\
over 100 %: a layer's cycles count from the end of the layer before; part of this one was computed until then.\n";

/// A width; nothing where there is none.
pub fn bits(n: u32) -> String {
    if n == 0 {
        String::new()
    } else {
        n.to_string()
    }
}

/// The layers, one per line, under their headings, with a line of sums; columns without content are left out.
pub fn layers(layers: &[Layer]) -> String {
    let filled = |c: &&Column| layers.iter().any(|l| !c.cell(l).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(filled).collect();
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|c| c.head.to_string()).collect()];
    rows.extend(layers.iter().map(|l| columns.iter().map(|c| c.cell(l)).collect()));
    if layers.len() > 1 {
        let mut total: Vec<String> = columns.iter().map(|c| c.total(layers)).collect();
        total[0] = "total".into();
        rows.push(total);
    }
    let widths: Vec<usize> = (0..columns.len()).map(|c| widest(&rows, c)).collect();
    let groups: Vec<&str> = columns.iter().map(|c| c.group).collect();
    let body: String = rows.iter().map(|r| line(r, &widths)).collect();
    let timed = columns.iter().any(|c| c.group == LOST);
    let over = layers.iter().any(|l| l.utilization.is_some_and(|u| u > 1.0));
    let legend =
        [(timed, LEGEND), (over, OVERLAP)].map(|(shown, text)| if shown { text } else { "" }).concat();
    let gap = if legend.is_empty() { "" } else { "\n" };
    format!("{}{body}{gap}{legend}", group_line(&groups, &widths))
}

impl Column {
    fn cell(&self, layer: &Layer) -> String {
        match &self.kind {
            Kind::Text(of) => of(layer),
            Kind::Sum(of) => of(layer).map_or(String::new(), |n| n.to_string()),
            Kind::Utilisation => layer.utilization.map_or(String::new(), percent),
        }
    }

    /// The sum over all layers, where each has a number.
    fn total(&self, layers: &[Layer]) -> String {
        match &self.kind {
            Kind::Text(_) => String::new(),
            Kind::Sum(of) => {
                layers.iter().map(of).sum::<Option<u64>>().map_or(String::new(), |n| n.to_string())
            }
            Kind::Utilisation => {
                let cycles = |l: &Layer| l.cycles_measured.or(l.cycles_predicted).map(|c| c as f64);
                let all: Option<f64> = layers.iter().map(cycles).sum();
                let used: Option<f64> =
                    layers.iter().map(|l| Some(cycles(l)? * l.utilization.unwrap_or(0.0))).sum();
                used.zip(all)
                    .filter(|(_, all)| *all > 0.0)
                    .map_or(String::new(), |(used, all)| percent(used / all))
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn widest(rows: &[Vec<String>], column: usize) -> usize {
    rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0)
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let cell = |(c, text): (usize, &String)| match c {
        0..LEFT => format!("{text:<w$}", w = widths[c]),
        _ => format!("{text:>w$}", w = widths[c]),
    };
    let text = cells.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
    format!("{}\n", text.trim_end())
}

/// The headings of groups, each over the middle of its columns.
fn group_line(groups: &[&str], widths: &[usize]) -> String {
    let mut text = String::new();
    let mut c = 0;
    while c < groups.len() {
        let columns = groups[c..].iter().take_while(|g| **g == groups[c]).count();
        let width = widths[c..c + columns].iter().sum::<usize>() + 2 * (columns - 1);
        let _ = write!(text, "{:^width$}  ", groups[c]);
        c += columns;
    }
    match text.trim_end() {
        "" => String::new(),
        line => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, cycles: u64) -> Layer {
        Layer {
            name: name.into(),
            op: "conv".into(),
            shape: [1, 1, 64],
            macs: 1000,
            act_bits: 2,
            wgt_bits: 1,
            cycles_predicted: Some(cycles),
            cycles_measured: Some(cycles),
            utilization: Some(0.5),
            time: Some(LayerTime { useful: cycles / 2, fill: cycles - cycles / 2, ..LayerTime::default() }),
            exact: Some(true),
        }
    }

    #[test]
    fn columns_are_aligned_and_summed() {
        let text = layers(&[layer("first", 123), layer("b", 5)]);
        let lines: Vec<&str> = text.lines().collect();
        let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        assert_eq!(end(lines[1], "predicted"), end(lines[2], "123"));
        assert!(
            lines[4].starts_with("total") && lines[4].contains("2000") && lines[4].contains("128"),
            "{text}"
        );
        assert!(lines[4].contains("50.0 %"), "{text}");
        assert!(lines[0].find("cycles lost to") > lines[1].find("idle"), "{text}");
        assert!(lines.iter().all(|l| *l == l.trim_end()), "{text}");
    }

    #[test]
    fn what_is_computed_under_the_layer_before_is_explained() {
        let overlapping = Layer { utilization: Some(1.2), ..layer("a", 7) };
        assert!(layers(&[overlapping]).contains("over 100 %"));
        assert!(!layers(&[layer("a", 7)]).contains("over 100 %"));
    }

    #[test]
    fn columns_without_content_are_left_out() {
        let bare =
            Layer { cycles_measured: None, time: None, exact: None, utilization: None, ..layer("a", 7) };
        let text = layers(&[bare]);
        assert!(!text.contains("measured") && !text.contains("lost") && !text.contains("total"), "{text}");
    }
}
