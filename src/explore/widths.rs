// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What quantizing further would buy: networks with other widths on one accelerator.

use super::chart::{number, Axis, Chart, Line, Mark, Series};
use super::narrow::{narrow, weight_bits, Widths};
use super::network::{bytes_moved, Network};
use crate::Failure;
use brickwork_compiler::ir::{Graph, Op};
use brickwork_compiler::lower::{compile, Options};
use brickwork_sim::image::RunOptions;
use brickwork_sim::machine::Machine;
use hdl_gen::Arch;
use serde::Serialize;
use std::fmt::Write;

/// Widths to try: all layers alike, or some layers by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub name: String,
    /// Of all layers; `None`: as they are.
    pub all: Option<Widths>,
    /// Of single layers.
    pub layers: Vec<(String, Widths)>,
}

/// A network with some widths on the accelerator.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    pub network: String,
    pub widths: String,
    /// Why it cannot be compiled.
    pub refused: Option<String>,
    pub cycles: u64,
    pub milliseconds: f64,
    /// Products of multiply-accumulates, activation bits and weight bits.
    pub bit_operations: u64,
    pub weight_bytes: u64,
    pub feature_bytes: u64,
    pub moved_bytes: u64,
    pub layers: Vec<LayerCycles>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LayerCycles {
    pub name: String,
    pub cycles: u64,
}

impl Scenario {
    /// The network as it is.
    pub fn given() -> Scenario {
        Scenario { name: "as it is".into(), all: None, layers: Vec::new() }
    }

    /// `8x4`: activations of 8 bits, weights of 4. Errors: not that.
    pub fn uniform(text: &str) -> Result<Scenario, Failure> {
        Ok(Scenario { name: text.into(), all: Some(widths(text)?), layers: Vec::new() })
    }

    /// `NAME=8x4` for some layers. Errors: not that.
    pub fn mixed(layers: &[String]) -> Result<Scenario, Failure> {
        let one = |text: &String| match text.rsplit_once('=') {
            Some((name, w)) => Ok((name.to_string(), widths(w)?)),
            None => Err(Failure::Other(format!("--layer {text}: write NAME=AxW, as in conv_3=4x2"))),
        };
        let layers = layers.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(Scenario { name: "--layer".into(), all: None, layers })
    }

    fn of(&self, graph: &Graph, node: usize) -> Option<Widths> {
        let name = &graph.nodes[node].name;
        let own = self.layers.iter().rfind(|(n, _)| n == name).map(|l| l.1);
        own.or(self.all)
    }

    /// Errors: a layer that no network has.
    pub fn check(&self, networks: &[Network]) -> Result<(), Failure> {
        let names = || networks.iter().flat_map(|n| &n.graph.nodes).filter(|n| matches!(n.op, Op::Conv(_)));
        match self.layers.iter().find(|(name, _)| !names().any(|n| n.name == *name)) {
            None => Ok(()),
            Some((name, _)) => {
                let known: Vec<&str> = names().map(|n| n.name.as_str()).collect();
                let known = known.join(", ");
                Err(Failure::Other(format!("--layer {name}: no such layer; there are {known}")))
            }
        }
    }
}

fn widths(text: &str) -> Result<Widths, Failure> {
    let parts = text.split_once('x').and_then(|(a, w)| Some((a.parse::<u8>().ok()?, w.parse::<u8>().ok()?)));
    match parts {
        Some((act, wgt)) if (1..=16).contains(&act) && (1..=16).contains(&wgt) => Ok(Widths { act, wgt }),
        _ => Err(Failure::Other(format!(
            "widths {text}: write bits of activations x bits of weights, each 1 to 16, as in 4x2"
        ))),
    }
}

/// Replays a network with some widths.
pub fn replay(network: &Network, arch: &Arch, scenario: &Scenario) -> Replay {
    let given = &network.graph;
    let graph = narrow(given, &|i| scenario.of(given, i));
    let mut replay = Replay {
        network: network.identity.name.clone(),
        widths: scenario.name.clone(),
        refused: None,
        cycles: 0,
        milliseconds: 0.0,
        bit_operations: bit_operations(&graph),
        weight_bytes: weight_bytes(&graph),
        feature_bytes: feature_bytes(&graph),
        moved_bytes: 0,
        layers: Vec::new(),
    };
    let program = match compile(&graph, arch, &Options::default()) {
        Ok(program) => program,
        Err(errors) => {
            replay.refused = Some(errors[0].to_string());
            return replay;
        }
    };
    let result = Machine::cycles(arch, &program.instrs, &RunOptions::default());
    if let Some((code, pc)) = result.error {
        replay.refused = Some(format!("the program stops: {code}, at instruction {pc}"));
        return replay;
    }
    let mut last = 0;
    for (layer, (_, at)) in program.info.layers.iter().zip(&result.marks) {
        replay.layers.push(LayerCycles { name: layer.name.clone(), cycles: at - last });
        last = *at;
    }
    replay.cycles = result.cycles;
    replay.milliseconds = result.cycles as f64 / (arch.config.device.clock_mhz as f64 * 1e3);
    replay.moved_bytes = bytes_moved(arch, &program);
    replay
}

fn bit_operations(graph: &Graph) -> u64 {
    let conv = |op: &Op| match op {
        Op::Conv(c) => {
            let [h, w, _] = graph.tensors[c.output].shape;
            let macs = (h * w * c.weights.data.len()) as u64;
            macs * graph.tensors[c.input].ty.bits as u64 * weight_bits(c)
        }
        _ => 0,
    };
    graph.nodes.iter().map(|n| conv(&n.op)).sum()
}

fn weight_bytes(graph: &Graph) -> u64 {
    let conv = |op: &Op| match op {
        Op::Conv(c) => (c.weights.data.len() as u64 * weight_bits(c)).div_ceil(8),
        _ => 0,
    };
    graph.nodes.iter().map(|n| conv(&n.op)).sum()
}

/// All tensors, each once; what is only another shape of a tensor is not counted again.
fn feature_bytes(graph: &Graph) -> u64 {
    let aliases: Vec<usize> =
        graph.nodes.iter().filter(|n| matches!(n.op, Op::Reshape(_))).map(|n| n.op.output()).collect();
    let tensors = graph.tensors.iter().enumerate().filter(|(t, _)| !aliases.contains(t));
    tensors.map(|(_, t)| (t.len() as u64 * t.ty.bits as u64).div_ceil(8)).sum()
}

/// The tables.
pub fn text(arch: &Arch, replays: &[Replay]) -> String {
    let mut out = String::new();
    for network in networks(replays) {
        let rows: Vec<&Replay> = replays.iter().filter(|r| r.network == network).collect();
        let _ = writeln!(
            out,
            "{network} on {} at {} MHz\n\n{:>10} {:>11} {:>10} {:>9} {:>14} {:>12} {:>13} {:>12}",
            arch.config.name,
            arch.config.device.clock_mhz,
            "widths",
            "cycles",
            "ms",
            "speed",
            "bit operations",
            "weight bytes",
            "feature bytes",
            "moved bytes"
        );
        let base = rows[0].cycles;
        for r in &rows {
            if let Some(why) = &r.refused {
                let _ = writeln!(out, "{:>10} cannot be compiled: {why}", r.widths);
                continue;
            }
            let _ = writeln!(
                out,
                "{:>10} {:>11} {:>10.3} {:>8.2}x {:>14} {:>12} {:>13} {:>12}",
                r.widths,
                r.cycles,
                r.milliseconds,
                base as f64 / r.cycles as f64,
                number(r.bit_operations as f64),
                r.weight_bytes,
                r.feature_bytes,
                r.moved_bytes
            );
        }
        out.push_str(&layer_table(&rows));
        out.push('\n');
    }
    out
}

/// Cycles of every layer at every width.
fn layer_table(rows: &[&Replay]) -> String {
    let done: Vec<&&Replay> = rows.iter().filter(|r| r.refused.is_none()).collect();
    let Some(first) = done.first() else { return String::new() };
    let wide = first.layers.iter().map(|l| l.name.chars().count()).max().unwrap_or(5).clamp(5, 40);
    let mut out = format!("\n{:wide$}", "layer");
    done.iter().for_each(|r| {
        let _ = write!(out, " {:>10}", r.widths);
    });
    out.push('\n');
    for layer in &first.layers {
        let name: String = layer.name.chars().take(wide).collect();
        let _ = write!(out, "{name:wide$}");
        for r in &done {
            let same = r.layers.iter().find(|l| l.name == layer.name);
            let _ = write!(out, " {:>10}", same.map_or("-".into(), |l| l.cycles.to_string()));
        }
        out.push('\n');
    }
    out
}

fn networks(replays: &[Replay]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for r in replays {
        if !names.contains(&r.network.as_str()) {
            names.push(&r.network);
        }
    }
    names
}

const COLOURS: [&str; 6] = ["#1f6fb4", "#c8321e", "#2b8a3e", "#7a4fb5", "#b8860b", "#444444"];

/// Cycles against bit operations.
pub fn chart(arch: &Arch, replays: &[Replay]) -> String {
    let done = || replays.iter().filter(|r| r.refused.is_none());
    let mark = |r: &Replay| Mark {
        at: [r.bit_operations as f64, r.cycles as f64],
        title: format!(
            "{} {}: {} bit operations, {} cycles",
            r.network, r.widths, r.bit_operations, r.cycles
        ),
        label: r.widths.clone(),
    };
    let mut series: Vec<Series> = Vec::new();
    let (least, most) = done().fold((f64::INFINITY, 0f64), |(a, b), r| {
        (a.min(r.bit_operations as f64), b.max(r.bit_operations as f64))
    });
    let rate = arch.binary_macs() as f64;
    if most > 0.0 {
        let end = |x: f64| Mark { at: [x, x / rate], title: String::new(), label: String::new() };
        series.push(Series {
            name: format!("every brick works: {} bit operations a cycle", arch.binary_macs()),
            colour: "#999999",
            radius: 0.0,
            points: vec![end(least), end(most)],
            line: Line::Dashed,
        });
    }
    for (i, name) in networks(replays).into_iter().enumerate() {
        let mut points: Vec<Mark> = Vec::new();
        for new in done().filter(|r| r.network == name).map(mark) {
            match points.iter_mut().find(|p| p.at == new.at) {
                Some(same) => same.label = format!("{} = {}", same.label, new.label),
                None => points.push(new),
            }
        }
        points.sort_by(|a, b| a.at.partial_cmp(&b.at).expect("finite"));
        series.push(Series {
            name: name.into(),
            colour: COLOURS[i % COLOURS.len()],
            radius: 4.0,
            points,
            line: Line::Straight,
        });
    }
    Chart {
        title: format!("Cycles against bit operations on {}", arch.config.name),
        subtitle: "labels: bits of activations x bits of weights; cycles are exact".into(),
        x: Axis { label: "bit operations = MACs x activation bits x weight bits".into(), log: true },
        y: Axis { label: "cycles of one inference".into(), log: true },
        series,
    }
    .svg()
}
