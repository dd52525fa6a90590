// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The report page: one HTML file with everything in it, and the same facts as JSON beside it.
//!
//! Rust spells every text and table cell; `page.html.tera` lays them out; `page.js` draws the charts from the JSON in the page.

use super::facts::{Facts, LayerFacts};
use super::graph::shape_name;
use super::requantized::Requantized;
use crate::table::bits;
use crate::{out_file, Failure};
use serde::Serialize;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("page.html.tera");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Channels whose parameters the page lists; the JSON has all.
const LISTED_CHANNELS: usize = 16;

/// Where the page of a model goes unless the user says otherwise.
pub fn default_path(config: &str, model: &Path) -> PathBuf {
    let stem = model.file_stem().map_or("report".into(), |s| s.to_string_lossy().into_owned());
    PathBuf::from("build").join(config).join(format!("{stem}.html"))
}

/// Errors: the name of a page does not end in `.html`.
pub fn check_path(path: &Path) -> Result<(), Failure> {
    match path.extension().is_some_and(|e| e == "html") {
        true => Ok(()),
        false => Err(Failure::file("write", path, "the name of a report page must end in .html")),
    }
}

/// Writes the page, and its facts as JSON beside it.
pub fn write(path: &Path, facts: &Facts) -> Result<(), Failure> {
    out_file::write_whole(path, html(facts)?.as_bytes())?;
    let mut json = facts.json();
    json.push('\n');
    out_file::write_whole(&path.with_extension("json"), json.as_bytes())
}

/// The page's text.
pub fn html(facts: &Facts) -> Result<String, Failure> {
    let fail = |e: tera::Error| Failure::Other(format!("the report page: {e}"));
    let mut tera = tera::Tera::default();
    // the extension makes it escape
    tera.add_raw_template("page.html", TEMPLATE).map_err(fail)?;
    let context = tera::Context::from_serialize(&View::new(facts)).map_err(fail)?;
    tera.render("page.html", &context).map_err(fail)
}

/// One field per hole of the template.
#[derive(Debug, Serialize)]
struct View<'a> {
    title: String,
    subtitle: String,
    verdict: Verdict,
    tiles: Vec<Tile>,
    speeds: Vec<Vec<String>>,
    limit: &'a str,
    what_if: Vec<Vec<String>>,
    head: Vec<Column>,
    layers: Vec<Vec<String>>,
    totals: Vec<String>,
    regions: Vec<Vec<String>>,
    requantization: Vec<Block>,
    notes: &'a [String],
    latency: u32,
    style: &'static str,
    script: &'static str,
    data: String,
}

#[derive(Debug, Serialize)]
struct Verdict {
    /// `good`, `bad`, `plain`.
    class: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Tile {
    id: &'static str,
    label: String,
    value: String,
    note: String,
}

#[derive(Debug, Serialize)]
struct Column {
    name: &'static str,
    hint: &'static str,
    /// `text` or `number`.
    class: &'static str,
}

/// The requantization of one operator.
#[derive(Debug, Serialize)]
struct Block {
    name: String,
    summary: String,
    proof: String,
    thresholds: String,
    channels: Vec<[i64; 4]>,
    more: String,
}

impl<'a> View<'a> {
    fn new(f: &'a Facts) -> View<'a> {
        let c = &f.config;
        View {
            title: format!("{} on {}", f.model, c.name),
            subtitle: format!(
                "{} at {} MHz: {} rows x {} lanes x {} columns of {b}x{b}-bit bricks, {} read ports of 64 bits",
                c.part,
                c.clock_mhz,
                c.rows,
                c.lanes,
                c.columns,
                c.read_ports,
                b = c.brick_bits
            ),
            verdict: verdict(f),
            tiles: tiles(f),
            speeds: f.speeds.iter().map(speed).collect(),
            limit: &f.limit.sentence,
            what_if: f.what_if.iter().map(what_if).collect(),
            head: HEAD.map(|(name, hint, class)| Column { name, hint, class }).into(),
            layers: f.layers.iter().enumerate().map(|(i, l)| layer(i, l)).collect(),
            totals: totals(f),
            regions: f.memory.regions.iter().flat_map(region).collect(),
            requantization: f.requantization.iter().map(block).collect(),
            notes: &f.notes,
            latency: c.memory_latency_cycles,
            style: STYLE,
            script: SCRIPT,
            // no `</script>` and no comment can begin inside the data
            data: f.json().replace('<', "\\u003c"),
        }
    }
}

fn verdict(f: &Facts) -> Verdict {
    let Some(c) = &f.comparison else {
        let text = "Compiled; cycles counted by the machine model, nothing was run on inputs.".into();
        return Verdict { class: "plain", text };
    };
    let inputs = format!("{} input{}", c.inputs, if c.inputs == 1 { "" } else { "s" });
    let what = c.compared.join(", ");
    match (c.compared.is_empty(), c.equal) {
        (true, _) => Verdict { class: "plain", text: format!("{inputs} run; nothing was compared.") },
        (_, true) => Verdict { class: "good", text: format!("Equal: {what}, every value of {inputs}.") },
        (_, false) => {
            Verdict { class: "bad", text: format!("DIFFERENT: {what}, {} values of {inputs}.", c.mismatches) }
        }
    }
}

fn tiles(f: &Facts) -> Vec<Tile> {
    let tile = |id, label: &str, value: String, note: String| Tile { id, label: label.into(), value, note };
    let own = f.speeds.iter().find(|s| s.own);
    let mhz = f.config.clock_mhz;
    let cycles = match f.cycles.measured {
        Some(m) if m == f.cycles.predicted => "measured on the RTL, as predicted".into(),
        Some(_) => format!("measured on the RTL; {} predicted", grouped(f.cycles.predicted)),
        None => "counted by the machine model".into(),
    };
    vec![
        tile("tile-cycles", "cycles per input", grouped(f.cycles.total), cycles),
        tile(
            "tile-fps",
            &format!("frames per second at {mhz} MHz"),
            own.map_or(String::new(), |s| rate(s.frames_per_second)),
            own.map_or(String::new(), |s| format!("{} per frame", duration(s.milliseconds))),
        ),
        tile(
            "tile-use",
            "of the array used",
            percent(f.utilization),
            format!(
                "{} of {} bit products per cycle",
                grouped(f.totals.bit_ops / f.cycles.total.max(1)),
                grouped(f.config.binary_macs_per_cycle)
            ),
        ),
        tile(
            "tile-limit",
            "limited by",
            limit_name(f.limit.what).into(),
            format!("{} of the cycles", percent(f.limit.share)),
        ),
    ]
}

/// What a reader calls the parts of the time.
pub fn limit_name(what: &str) -> &str {
    match what {
        "useful" => "the array",
        "idle" => "array shape",
        "fill" => "short passes",
        "post" => "post-processing",
        other => other,
    }
}

fn speed(s: &super::facts::Speed) -> Vec<String> {
    let own = if s.own { " (this configuration)" } else { "" };
    vec![format!("{} MHz{own}", s.mhz), rate(s.frames_per_second), duration(s.milliseconds)]
}

fn what_if(w: &super::what_if::WhatIf) -> Vec<String> {
    let exact = if w.exact { "" } else { "at best " };
    vec![
        w.name.clone(),
        format!("{exact}{}", grouped(w.cycles)),
        format!("{exact}x {:.3}", w.speedup),
        w.how.clone(),
    ]
}

const HEAD: [(&str, &str, &str); 20] = [
    ("#", "number of the layer", "number"),
    ("layer", "name in the network", "text"),
    ("limited by", "what takes the largest part of its cycles", "text"),
    ("op", "operator", "text"),
    ("shape", "height x width x channels, in and out", "text"),
    ("bits", "activation x weight bits", "text"),
    ("MACs", "multiply-accumulates", "number"),
    ("BitOPs", "MACs x activation bits x weight bits", "number"),
    ("predicted", "cycles that the machine model counts", "number"),
    ("measured", "cycles that the RTL counted", "number"),
    ("used", "share of the array's bricks x cycles that the layer's products need", "number"),
    ("idle", "cycles lost to rows, lanes or columns without work", "number"),
    ("fill", "cycles in which the array fills and drains", "number"),
    ("weights", "cycles in which weights shift in and the array has nothing else to do", "number"),
    ("post", "cycles in which results are finished and the array has nothing to do", "number"),
    ("memory", "cycles in which a transfer is under way that nothing hides", "number"),
    ("control", "cycles of instruction fetch, tokens, start and end", "number"),
    ("DRAM in", "bytes loaded: activations, weights, parameters", "number"),
    ("DRAM out", "bytes stored", "number"),
    ("on chip", "bytes of one activation bank taken while the layer runs", "number"),
];

fn layer(i: usize, l: &LayerFacts) -> Vec<String> {
    let number = |n: Option<u64>| n.map_or("-".into(), grouped);
    let widths = match (bits(l.layer.act_bits), bits(l.layer.wgt_bits)) {
        (a, w) if a.is_empty() || w.is_empty() => a + &w,
        (a, w) => format!("{a} x {w}"),
    };
    let time = l.layer.time.unwrap_or_default();
    let mut cells = vec![
        (i + 1).to_string(),
        l.layer.name.clone(),
        format!("{} {}", limit_name(l.limit.what), percent(l.limit.share)),
        l.layer.op.clone(),
        format!("{} to {}", shape_name(l.shape_in), shape_name(l.layer.shape)),
        widths,
        grouped(l.layer.macs),
        grouped(l.bit_ops),
        number(l.layer.cycles_predicted),
        number(l.layer.cycles_measured),
        l.layer.utilization.map_or("-".into(), percent),
    ];
    cells.extend(time.parts()[1..].iter().map(|p| grouped(p.1)));
    cells.extend([l.traffic.loaded(), l.traffic.stored, l.bank_bytes].map(grouped));
    cells
}

fn totals(f: &Facts) -> Vec<String> {
    let text = |s: &str| s.to_string();
    let limit = format!("{} {}", limit_name(f.limit.what), percent(f.limit.share));
    let mut cells = vec![text(""), text("all"), limit, text(""), text(""), text("")];
    cells.extend([f.totals.macs, f.totals.bit_ops, f.cycles.predicted].map(grouped));
    cells.push(f.cycles.measured.map_or("-".into(), grouped));
    cells.push(percent(f.utilization));
    cells.extend(f.totals.time.parts()[1..].iter().map(|p| grouped(p.1)));
    cells.extend([grouped(f.totals.bytes_loaded), grouped(f.totals.bytes_stored), text("")]);
    cells
}

fn region(r: &super::memory::Region) -> Vec<Vec<String>> {
    let head = vec![r.name.to_string(), String::new(), String::new(), grouped(r.bytes as u64)];
    let tensor = |t: &super::memory::Stored| {
        vec![
            String::new(),
            t.name.clone(),
            format!("{} {} at {}", t.ty, t.shape, grouped(t.offset as u64)),
            grouped(t.bytes as u64),
        ]
    };
    std::iter::once(head).chain(r.tensors.iter().map(tensor)).collect()
}

fn block(r: &Requantized) -> Block {
    let span = |n: usize| {
        let values = r.channels.iter().map(|c| c[n]);
        match (values.clone().min(), values.max()) {
            (Some(a), Some(b)) if a != b => format!("{a} to {b}"),
            (Some(a), _) => a.to_string(),
            _ => "-".into(),
        }
    };
    let table = if r.table { ", then a 256-entry table" } else { "" };
    let summary = match r.raw {
        true => format!("{}: 32-bit result, bias {}", r.op, span(0)),
        false => format!(
            "{}: multiplier {} / 2^31, shift {}, {}, zero point {}, clamp {} to {}{table}",
            r.op,
            span(1),
            span(3),
            rounding(&r.rounding),
            r.zero_point,
            r.clamp.0,
            r.clamp.1
        ),
    };
    let thresholds = match (r.thresholds.is_empty(), r.codes) {
        (false, _) => format!(
            "Channel 0: {} codes; the code changes where the sum reaches {}.",
            r.codes,
            r.thresholds.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
        ),
        (true, 0) => String::new(),
        (true, n) => format!("Channel 0 reaches {n} codes."),
    };
    let hidden = r.channels.len().saturating_sub(LISTED_CHANNELS);
    Block {
        name: r.layer.map_or(r.name.clone(), |l| format!("{}. {}", l + 1, r.name)),
        summary,
        proof: r.proof.clone(),
        thresholds,
        channels: r.channels.iter().take(LISTED_CHANNELS).copied().collect(),
        more: if hidden > 0 { format!("and {hidden} channels more in the JSON") } else { String::new() },
    }
}

fn rounding(name: &str) -> &str {
    match name {
        "Floor" => "rounded down",
        "HalfUp" => "rounded half up",
        "HalfEven" => "rounded half to even",
        "Float32" => "rounded as float32, then half to even",
        _ => "rounded as TFLite does",
    }
}

/// `1 234 567`, with spaces that do not break.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(d);
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Frames per second with about four digits.
pub fn rate(fps: f64) -> String {
    match fps {
        f if f >= 1000.0 => grouped(f.round() as u64),
        f if f >= 100.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}

fn duration(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms >= 1.0 => format!("{ms:.3} ms"),
        ms => format!("{:.1} us", 1000.0 * ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let plain = |n| grouped(n).replace('\u{202f}', " ");
        assert_eq!([plain(0), plain(999), plain(1000), plain(1234567)], ["0", "999", "1 000", "1 234 567"]);
    }

    /// Every hole of the template is a field of the view, and the other way round.
    #[test]
    fn template_and_view_agree() {
        let holes = [
            "title", "subtitle", "verdict", "tiles", "speeds", "limit", "what_if", "head", "layers", "totals",
        ];
        let more = ["regions", "requantization", "notes", "latency", "style", "script", "data"];
        for hole in holes.iter().chain(&more) {
            let used = [format!("{{{{ {hole}"), format!(" in {hole} "), format!("if {hole} ")];
            assert!(used.iter().any(|u| TEMPLATE.contains(u)), "the template does not use {hole}");
        }
    }
}
