// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a search found: for people, as JSON, as charts.

use super::chart::{Axis, Chart, Line, Mark, Series};
use super::front::front;
use super::journal::Header;
use super::objective::{mean, mean_cycles};
use super::point::{self, Point};
use super::search::{Counts, Found};
use crate::Failure;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// Everything that is said about a search.
pub struct Summary<'a> {
    pub header: &'a Header,
    /// Best first.
    pub found: &'a [Found],
    pub counts: &'a Counts,
    /// Given configurations by name, to compare with.
    pub given: &'a [(String, Found)],
    /// Time, and processor time, of this run; `None`: nothing was run.
    pub took: Option<Took>,
    /// Beside the totals, more to say.
    pub notes: Vec<String>,
}

/// How long a run took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Took {
    pub time: Duration,
    pub threads: usize,
    /// Configurations compiled in this run, not read from the journal: to exact cycles, to a bound that was enough, or refused.
    pub compiled: usize,
}

/// Rows of a printed front.
const ROWS: usize = 24;
/// Reasons for refusals that are printed.
const REASONS: usize = 5;

impl Summary<'_> {
    /// The best configuration.
    pub fn winner(&self) -> Option<&Found> {
        self.found.first()
    }

    /// Found configurations on the front of mean cycles against LUT (0) or block RAM (1), fastest first.
    pub fn front(&self, axis: usize) -> Vec<&Found> {
        let points: Vec<[f64; 2]> = self.found.iter().map(|f| f.axes(axis)).collect();
        front(&points).into_iter().map(|i| &self.found[i]).collect()
    }

    /// As the terminal shows it.
    pub fn text(&self) -> String {
        let Header { target, networks, objective, .. } = self.header;
        let device = target.device();
        let names: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
        let clock = target.given.clock_mhz;
        let mut out = format!("{} on {} at {clock} MHz\n\n", names.join(", "), target.given.part);
        out.push_str(&self.totals());
        let [lut, ram] = target.names();
        for (axis, what) in [(0, lut), (1, ram)] {
            let members = self.front(axis);
            let _ = writeln!(out, "\ncycles against {what}: {} configurations on the front", members.len());
            out.push_str(&self.table(&members));
        }
        if let Some(best) = self.winner() {
            let _ = writeln!(out, "\nbest: {}", objective.say(&best.seconds, &best.cost));
            let rows: Vec<(String, &Found)> = [("best".to_string(), best)]
                .into_iter()
                .chain(self.given.iter().map(|(name, f)| (name.clone(), f)))
                .collect();
            for (name, f) in &rows {
                let _ = writeln!(out, "{name:16} {}", describe(&f.point));
                let [luts, rams] = [
                    100.0 * f.cost.lut as f64 / device.luts as f64,
                    100.0 * f.cost.block_ram / device.block_rams as f64,
                ];
                let _ = writeln!(
                    out,
                    "{:16} {} {lut} ({luts:.0} %), {} {ram} ({rams:.0} %); {}",
                    "",
                    f.cost.lut,
                    f.cost.block_ram,
                    objective.say(&f.seconds, &f.cost)
                );
                for ((n, c), s) in names.iter().zip(&f.cycles).zip(&f.seconds) {
                    let _ = writeln!(out, "{:16} {n}: {c} cycles, {:.1} frames/s", "", 1.0 / s);
                }
            }
        }
        for note in &self.notes {
            let _ = writeln!(out, "note: {note}");
        }
        out
    }

    fn totals(&self) -> String {
        let c = self.counts;
        let mut out = format!(
            "{:>8} configurations considered\n\
             {:>8} do not fit {} (at most {} % of its LUTs), by the resource estimate\n\
             {:>8} cannot beat what is known, by a bound on their cycles; {} of them after planning\n\
             {:>8} refused by the compiler\n\
             {:>8} evaluated, cycles exact\n",
            c.considered,
            c.too_large,
            self.header.target.device().name,
            self.header.target.fill,
            c.bounded + c.sketched,
            c.sketched,
            c.refused.values().sum::<usize>(),
            c.exact
        );
        let mut reasons: Vec<(&String, &usize)> = c.refused.iter().collect();
        reasons.sort_by_key(|(why, n)| (std::cmp::Reverse(**n), *why));
        for (why, n) in reasons.iter().take(REASONS) {
            let _ = writeln!(out, "{:>8}   {n} x {why}", "");
        }
        if reasons.len() > REASONS {
            let rest: usize = reasons[REASONS..].iter().map(|r| r.1).sum();
            let _ = writeln!(out, "{:>8}   {rest} x for other reasons", "");
        }
        if let Some(t) = self.took {
            let minutes = t.time.as_secs_f64() / 60.0;
            let _ = writeln!(
                out,
                "{:.0} s with {} threads: {:.0} configurations compiled and {:.0} considered a minute",
                t.time.as_secs_f64(),
                t.threads,
                t.compiled as f64 / minutes,
                c.considered as f64 / minutes
            );
        }
        out
    }

    fn table(&self, members: &[&Found]) -> String {
        let [lut, ram] = self.header.target.names();
        let mut out = format!("{:>12} {lut:>8} {ram:>8} {:>8}  configuration\n", "mean cycles", "DSP");
        let step = members.len().div_ceil(ROWS).max(1);
        let last = members.len().saturating_sub(1);
        let shown = members.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
        for (_, f) in shown {
            let _ = writeln!(
                out,
                "{:>12.0} {:>8} {:>8} {:>8}  {}",
                mean_cycles(&f.cycles),
                f.cost.lut,
                f.cost.block_ram,
                f.cost.dsp,
                describe(&f.point)
            );
        }
        if step > 1 {
            let _ = writeln!(out, "(one of {step}; all stand in report.json)");
        }
        out
    }

    /// Mean cycles against a resource.
    pub fn chart(&self, axis: usize) -> String {
        let Header { target, networks, .. } = self.header;
        let what = target.names()[axis];
        let names: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
        let mark = |f: &Found, label: &str| {
            let [cycles, other] = f.axes(axis);
            let title = format!(
                "{}{other} {what}, {cycles:.0} cycles, {:.1} frames/s: {}",
                if label.is_empty() { String::new() } else { format!("{label}: ") },
                1.0 / mean(&f.seconds),
                describe(&f.point)
            );
            Mark { at: [other, cycles], title, label: label.into() }
        };
        let points = |list: Vec<&Found>| list.into_iter().map(|f| mark(f, "")).collect::<Vec<_>>();
        let mut members = self.front(axis);
        members.reverse();
        let on_front = |f: &Found| members.iter().any(|m| m.point == f.point);
        let others = self.found.iter().filter(|f| !on_front(f)).collect();
        let series = |name: &str, colour, radius, points, line| Series {
            name: name.into(),
            colour,
            radius,
            points,
            line,
        };
        let best = self.winner().map(|f| mark(f, "best")).into_iter().collect();
        let given = self.given.iter().map(|(name, f)| mark(f, name)).collect::<Vec<_>>();
        let all = vec![
            series("evaluated", "#b8b8b8", 2.2, points(others), Line::None),
            series("front", "#1f6fb4", 3.2, points(members), Line::Steps),
            series(if given.is_empty() { "" } else { "given" }, "#2b8a3e", 9.0, given, Line::None),
            series("best", "#c8321e", 5.0, best, Line::None),
        ];
        let mean = if networks.len() > 1 { ", geometric mean of the networks" } else { "" };
        let shown = match names.len() {
            0..=4 => names.join(", "),
            n => format!("{n} networks"),
        };
        Chart {
            title: format!("Cycles against {what}, {}", target.device().name),
            subtitle: format!("{shown}; every point is a configuration with exact cycles"),
            x: Axis { label: format!("{what} (estimated)"), log: false },
            y: Axis { label: format!("cycles of one inference{mean}"), log: true },
            series: all,
        }
        .svg()
    }

    /// Everything as JSON.
    pub fn json(&self) -> Result<String, Failure> {
        let report = Report {
            search: self.header,
            counts: self.counts,
            best: self.winner().map(Entry::new),
            given: self.given.iter().map(|(name, f)| Named { name, found: Entry::new(f) }).collect(),
            fields: &point::NAMES,
            front_lut: self.front(0).into_iter().map(Entry::new).collect(),
            front_block_ram: self.front(1).into_iter().map(Entry::new).collect(),
            took: self.took.map(|t| t.time.as_secs_f64()),
            compiled_now: self.took.map(|t| t.compiled),
            notes: &self.notes,
        };
        let mut text = serde_json::to_string_pretty(&report).map_err(Failure::other)?;
        text.push('\n');
        Ok(text)
    }
}

/// `report.json`.
#[derive(Serialize)]
struct Report<'a> {
    search: &'a Header,
    counts: &'a Counts,
    best: Option<Entry<'a>>,
    given: Vec<Named<'a>>,
    /// Fields of the configuration, in the order of `point`.
    fields: &'a [&'static str],
    front_lut: Vec<Entry<'a>>,
    front_block_ram: Vec<Entry<'a>>,
    /// Seconds of this run, and configurations evaluated in it.
    took: Option<f64>,
    compiled_now: Option<usize>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    found: Entry<'a>,
}

#[derive(Serialize)]
struct Entry<'a> {
    point: Point,
    lut: u32,
    ff: u32,
    block_ram: f64,
    dsp: u32,
    cycles: &'a [u64],
    bytes: &'a [u64],
    seconds: &'a [f64],
    mean_cycles: f64,
    mean_fps: f64,
    price: f64,
}

impl<'a> Entry<'a> {
    fn new(f: &'a Found) -> Entry<'a> {
        Entry {
            point: f.point,
            lut: f.cost.lut,
            ff: f.cost.ff,
            block_ram: f.cost.block_ram,
            dsp: f.cost.dsp,
            cycles: &f.cycles,
            bytes: &f.bytes,
            seconds: &f.seconds,
            mean_cycles: mean_cycles(&f.cycles),
            mean_fps: 1.0 / mean(&f.seconds),
            price: f.price,
        }
    }
}

/// A point in a line.
pub fn describe(p: &Point) -> String {
    use point::*;
    let brick = if p.get(BRICK_BITS) == 1 { "" } else { ", 2-bit bricks" };
    format!(
        "{} rows x {} lanes x {} columns{brick}, banks {}, accumulators {}, weights {}, taps {}, requantize {} x {}, {} ports",
        p.get(ROWS),
        p.get(LANES),
        p.get(COLUMNS),
        p.get(BANKS),
        p.get(ACCUMULATORS),
        p.get(WEIGHTS),
        p.get(TAPS),
        p.get(REQUANT_LANES),
        p.get(PARAMS),
        p.get(PORTS)
    )
}
