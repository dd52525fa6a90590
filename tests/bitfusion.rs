// SPDX-License-Identifier: Apache-2.0 OR MIT
//! docs/bitfusion.md is made from docs/bitfusion.toml and the cycles of the same layers on `zynq7020`. `make compare` writes it.

mod common;

use brickwork::report::page::grouped;
use brickwork_compiler::ir::{Conv, Graph, IntType, Node, Op, Requant, Rounding, Tensor, Weights};
use brickwork_compiler::lower::{compile, Options};
use brickwork_sim::image::RunOptions;
use brickwork_sim::machine::Machine;
use common::{golden, repo};
use hdl_gen::numfmt::ChannelParams;
use hdl_gen::Arch;
use itertools::Itertools;
use serde::Deserialize;
use std::fmt::Write;

const CONFIG: &str = "configs/zynq7020.toml";
const MHZ: u32 = 150;

/// docs/bitfusion.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    cycles_from: String,
    shapes_from: String,
    mhz: u32,
    batch: u64,
    layer: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    network: String,
    name: String,
    input: [usize; 3],
    kernel: usize,
    channels: usize,
    stride: usize,
    same: bool,
    bits: [u8; 3],
    cycles: u64,
}

impl Layer {
    /// Height and width of the result, and `[before, after]` of the padding, which is the same both ways.
    fn geometry(&self) -> ([usize; 2], [usize; 2]) {
        let [h, w, _] = self.input;
        let (k, s) = (self.kernel, self.stride);
        if !self.same {
            return ([h, w].map(|n| (n - k) / s + 1), [0; 2]);
        }
        let pad = ((h.div_ceil(s) - 1) * s + k).saturating_sub(h);
        ([h, w].map(|n| n.div_ceil(s)), [pad / 2, pad.div_ceil(2)])
    }

    fn macs(&self) -> u64 {
        let [h, w] = self.geometry().0;
        (h * w * self.channels * self.kernel * self.kernel * self.input[2]) as u64
    }

    /// The layer alone, with weights other than 0. One bit of weight is -1 or +1.
    fn graph(&self) -> Graph {
        let [activations, weights, results] = self.bits;
        let ([h, w], [before, after]) = self.geometry();
        let signed = |bits: u8| IntType { bits, signed: bits > 1 };
        let tensor = |name: &str, shape, bits| Tensor {
            name: name.into(),
            shape,
            ty: signed(bits),
            scale: 1.0,
            zero_point: 0,
        };
        let out = signed(results).range();
        let params = ChannelParams { bias: 1, multiplier: 1 << 30, addend: 0, shift: 9 };
        let conv = Conv {
            input: 0,
            output: 1,
            weights: self.weights(weights),
            stride: [self.stride; 2],
            dilation: [1; 2],
            pads: [before, before, after, after],
            pad_code: 0,
            groups: 1,
            requant: Requant {
                channels: vec![params; self.channels],
                rounding: Rounding::HalfUp,
                zero_point: 0,
                clamp: (out.0 as i32, out.1 as i32),
                table: None,
                raw: false,
            },
        };
        Graph {
            name: self.name.clone(),
            tensors: vec![
                tensor("input", self.input, activations),
                tensor("output", [h, w, self.channels], results),
            ],
            nodes: vec![Node { name: self.name.clone(), op: Op::Conv(conv) }],
            inputs: vec![0],
            outputs: vec![1],
        }
    }

    fn weights(&self, bits: u8) -> Weights {
        let shape = [self.channels, self.kernel, self.kernel, self.input[2]];
        let bipolar = bits == 1;
        let ty = IntType { bits: bits.max(2), signed: true };
        let (lo, hi) = if bipolar { (-1, 1) } else { ty.range() };
        let values: Vec<i32> = (lo as i32..=hi as i32).filter(|v| *v != 0).collect();
        let count = shape.iter().product::<usize>();
        let data = (0..count).map(|i| values[i * 7919 % 8191 % values.len()]).collect();
        Weights { shape, data, ty, bipolar }
    }

    /// Cycles of one inference.
    fn cycles(&self, arch: &Arch) -> u64 {
        let program = compile(&self.graph(), arch, &Options::default())
            .unwrap_or_else(|e| panic!("{} {}: {}", self.network, self.name, e[0]));
        let result = Machine::cycles(arch, &program.instrs, &RunOptions::default());
        assert_eq!(result.error, None, "{} {}", self.network, self.name);
        result.cycles
    }
}

/// `18432` as `18 432`.
fn thousands(n: u64) -> String {
    grouped(n).replace('\u{202f}', " ")
}

/// One row of a table: theirs and ours, cycles of an inference and microseconds.
fn row(page: &mut String, what: &str, macs: u64, theirs: [f64; 2], ours: [f64; 2]) {
    let number = |v: f64| thousands(v.round() as u64);
    let cells = [theirs[0], theirs[1], ours[0], ours[1]].map(number).join(" | ");
    let _ = writeln!(page, "| {what} | {} | {cells} | {:.2} |", thousands(macs), theirs[1] / ours[1]);
}

const HEAD: &str = "# BitFusion's layers\n\n\
    <!-- Made by tests/bitfusion.rs from docs/bitfusion.toml and our compiler; `make compare` writes it. Do not edit. -->\n\n";

fn introduction(published: &Published, arch: &Arch) -> String {
    let theirs = 16 * 32 * 16 * 4;
    let ours = arch.binary_macs();
    format!(
        "BitFusion's authors publish [cycles per layer](<{}>) of [eight networks](<{}>), **simulated** for a chip of their own: 16 x 32 fusion units of\n\
         sixteen 2-bit bricks ({} binary multiply-accumulates per cycle), {} MHz, 192 bits of memory per cycle, batches of {}, weights shared by a batch.\n\n\
         Ours are **simulated** too: each layer alone on `zynq7020` ({} binary multiply-accumulates per cycle), {MHZ} MHz assumed, 128 bits of memory per\n\
         cycle, one input at a time, with weights, input and result in memory: dense layers read all their weights for one input. Pooling and additions are\n\
         left out, as in their table. The shapes are theirs; the weights are made up, none of them 0. Theirs have no widths below 2 bits; the last\n\
         layers, whose result has no width of its own, give 16 bits here. `time` is theirs divided by ours: below 1 ours takes longer.\n\n",
        published.cycles_from,
        published.shapes_from,
        thousands(theirs),
        published.mhz,
        published.batch,
        thousands(ours),
    )
}

const COLUMNS: &str =
    "MACs | cycles theirs | us | cycles ours | us | time |\n|---|---|---|---|---|---|---|\n";

#[test]
#[ignore = "a hundred million weights: make compare"]
fn bitfusion_page_is_made_from_its_table_and_our_counts() {
    let text = std::fs::read_to_string(repo("docs/bitfusion.toml")).unwrap();
    let published: Published = toml::from_str(&text).expect("docs/bitfusion.toml");
    let arch = Arch::new(&brickwork::generate::load_config(&repo(CONFIG)).unwrap());
    let mut page = String::from(HEAD) + &introduction(&published, &arch);
    let (mut sums, mut layers) = (String::new(), String::new());
    let us = |cycles: f64, mhz: u32| [cycles, cycles / mhz as f64];
    for (network, group) in &published.layer.iter().chunk_by(|l| l.network.clone()) {
        let (mut macs, mut theirs, mut ours) = (0, 0.0, 0.0);
        let _ = write!(layers, "\n## {network}\n\n| layer, bits | {COLUMNS}");
        for layer in group {
            let counts = [layer.cycles as f64 / published.batch as f64, layer.cycles(&arch) as f64];
            let [a, w, _] = layer.bits;
            let what = format!("`{}`, {a} x {w}", layer.name);
            row(&mut layers, &what, layer.macs(), us(counts[0], published.mhz), us(counts[1], MHZ));
            macs += layer.macs();
            theirs += counts[0];
            ours += counts[1];
        }
        row(&mut sums, &network, macs, us(theirs, published.mhz), us(ours, MHZ));
    }
    let _ = write!(page, "| all layers of | {COLUMNS}{sums}{layers}");
    golden(&repo("docs/bitfusion.md"), &page);
}
