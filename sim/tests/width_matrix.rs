// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every width of activations against every width of weights, on the generated Verilog: exact, and as many cycles as
//! predicted.
//!
//! Activations of 1..=16 bits, signed and unsigned; weights of 1, 2, 3, 4, 5, 8 and 16 bits, signed, unsigned and bipolar;
//! bipolar activations. Smallest and largest values everywhere, alternating ones, random ones. One program per type of
//! activations, with a layer for each type of weights; each layer's exact sums are compared, and codes of the
//! activations' own width, which go through packing.

#[path = "support/machines.rs"]
mod machines;
#[path = "../../compiler/tests/support/random_graphs.rs"]
#[allow(dead_code)]
mod random_graphs;

use brickwork_compiler::golden;
use brickwork_compiler::ir::*;
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::program::Program;
use brickwork_sim::cosim::{BuildOptions, Cosim};
use brickwork_sim::image::{Image, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::isa::Op as Opcode;
use hdl_gen::numfmt::float32_multiplier;
use hdl_gen::Arch;
use random_graphs::Rng;
use std::collections::BTreeSet;

const WEIGHT_BITS: [u8; 7] = [1, 2, 3, 4, 5, 8, 16];
/// What the pixels of an input, and the channels of a layer's weights, consist of.
const PATTERNS: [Pattern; 7] = [
    Pattern::Smallest,
    Pattern::Largest,
    Pattern::Alternating,
    Pattern::AlternatingFromLargest,
    Pattern::Random,
    Pattern::Random,
    Pattern::Random,
];

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Smallest,
    Largest,
    Alternating,
    AlternatingFromLargest,
    Random,
}

impl Pattern {
    /// `n` values of `lo` to `hi`; those of bipolar weights (-1, +1) are ends, never between.
    fn values(self, n: usize, (lo, hi): (i64, i64), bipolar: bool, rng: &mut Rng) -> Vec<i32> {
        let mut value = |i: usize| match self {
            Pattern::Smallest => lo,
            Pattern::Largest => hi,
            Pattern::Alternating => [lo, hi][i % 2],
            Pattern::AlternatingFromLargest => [hi, lo][i % 2],
            Pattern::Random if bipolar => rng.pick(&[lo, hi]),
            Pattern::Random => rng.range(lo, hi),
        };
        (0..n).map(|i| value(i) as i32).collect()
    }
}

/// A kind of weights; bipolar ones are -1 and +1.
#[derive(Clone, Copy, Debug)]
struct WeightType {
    ty: IntType,
    bipolar: bool,
}

fn weight_types() -> Vec<WeightType> {
    let plain =
        |bits: u8| [false, true].map(|signed| WeightType { ty: IntType { bits, signed }, bipolar: false });
    let bipolar = WeightType { ty: IntType { bits: 2, signed: true }, bipolar: true };
    WEIGHT_BITS.into_iter().flat_map(plain).chain([bipolar]).collect()
}

impl WeightType {
    fn range(self) -> (i64, i64) {
        if self.bipolar {
            (-1, 1)
        } else {
            self.ty.range()
        }
    }
}

/// The layers for one type of activations.
struct Matrix {
    graph: Graph,
    rng: Rng,
    /// The next layer's rounding.
    turn: usize,
}

impl Matrix {
    fn new(seed: u64, act: IntType) -> Matrix {
        let name = format!("act_{}", name(act));
        let graph = Graph { name, tensors: vec![], nodes: vec![], inputs: vec![], outputs: vec![] };
        Matrix { graph, rng: Rng::new(seed), turn: act.bits as usize }
    }

    fn tensor(&mut self, name: String, shape: [usize; 3], ty: IntType) -> TensorId {
        self.graph.tensors.push(Tensor { name, shape, ty, scale: 1.0, zero_point: 0 });
        self.graph.tensors.len() - 1
    }

    /// One pixel for each pattern.
    fn input(&mut self, channels: usize, act: IntType) -> TensorId {
        let t = self.tensor(format!("x{channels}"), [1, PATTERNS.len(), channels], act);
        self.graph.inputs.push(t);
        t
    }

    /// A layer with one output channel for each pattern, whose result is its sum or, with `codes`, a code of the input's
    /// type.
    fn layer(&mut self, input: TensorId, weights: WeightType, codes: bool) {
        let Tensor { shape: [_, pixels, channels], ty: act, .. } = self.graph.tensors[input];
        let rng = &mut self.rng;
        let rows = PATTERNS.map(|p| p.values(channels, weights.range(), weights.bipolar, rng));
        let kind = if weights.bipolar { "bipolar".into() } else { name(weights.ty) };
        let result = if codes { "codes" } else { "sums" };
        let ty = if codes { act } else { IntType::RAW };
        let node = format!("{} x {kind} weights, {channels} channels, {result}", self.graph.name);
        let output = self.tensor(node.clone(), [1, pixels, PATTERNS.len()], ty);
        let rounding = Rounding::ALL[self.turn % Rounding::ALL.len()];
        self.turn += 1;
        let params =
            |w: &Vec<i32>| scale(sum_range(w, act), if codes { ty.bits as u32 } else { 31 }, rounding);
        let (lo, hi) = ty.range();
        let requant = Requant {
            channels: rows.iter().map(params).collect(),
            rounding,
            zero_point: 0,
            clamp: if codes { (lo as i32, hi as i32) } else { (0, 0) },
            table: None,
            raw: !codes,
        };
        let weights = Weights {
            shape: [PATTERNS.len(), 1, 1, channels],
            data: rows.concat(),
            ty: weights.ty,
            bipolar: weights.bipolar,
        };
        let conv = Conv {
            input,
            output,
            weights,
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            pad_code: 0,
            groups: 1,
            requant,
        };
        self.graph.nodes.push(Node { name: node, op: Op::Conv(conv) });
        self.graph.outputs.push(output);
    }

    fn inputs(&mut self) -> Vec<Vec<i32>> {
        let rng = &mut self.rng;
        let tensors = self.graph.inputs.iter().map(|t| &self.graph.tensors[*t]);
        tensors.map(|t| PATTERNS.map(|p| p.values(t.shape[2], t.ty.range(), false, rng)).concat()).collect()
    }
}

fn name(ty: IntType) -> String {
    format!("{}{}", if ty.signed { "int" } else { "uint" }, ty.bits)
}

/// Smallest and largest sum.
fn sum_range(weights: &[i32], act: IntType) -> (i64, i64) {
    let (lo, hi) = act.range();
    weights.iter().fold((0, 0), |(least, most), &w| {
        let ends = [w as i64 * lo, w as i64 * hi];
        (least + ends[0].min(ends[1]), most + ends[0].max(ends[1]))
    })
}

/// Parameters that bring sums to a signed number of `bits` bits: unchanged if they have at most 30 and 31 are there for
/// them, otherwise divided by the smallest sufficient power of two.
fn scale((lo, hi): (i64, i64), bits: u32, rounding: Rounding) -> ChannelParams {
    let largest = hi.max(-lo);
    let excess = (64 - largest.leading_zeros() + 1).saturating_sub(bits);
    if bits == 31 && excess == 0 {
        let addend = if rounding == Rounding::Floor { 1 << 30 } else { 0 };
        return ChannelParams { bias: 0, multiplier: i32::MAX, addend, shift: 0 };
    }
    let shift = excess.max(1) as u8 - 1;
    let (multiplier, shift) = match rounding {
        Rounding::Float32 => float32_multiplier(0.5f32.powi(shift as i32 + 1)).expect("a scale below 1"),
        _ => (1 << 30, shift),
    };
    ChannelParams { bias: 0, multiplier, addend: 0, shift }
}

/// Two inputs: one narrow enough for 1-bit weights (and the sum column of bipolar ones) at every width of activations, one
/// that takes two passes with a last row and block that are not full.
fn matrix(arch: &Arch, act: IntType, seed: u64) -> (Graph, Vec<Vec<i32>>) {
    let mut m = Matrix::new(seed, act);
    let many = (arch.rows * arch.lanes + 3) as usize;
    let (few, many) = (m.input(2, act), m.input(many, act));
    for weights in weight_types() {
        m.layer(few, weights, false);
        m.layer(many, weights, false);
        m.layer(many, weights, true);
    }
    let inputs = m.inputs();
    (m.graph, inputs)
}

/// Machine model and Verilog, one after another on the same machine.
struct Bench {
    arch: Arch,
    machine: Machine,
    cosim: Cosim,
    /// Weight modes of the passes run, and results made from the sum column.
    modes: BTreeSet<i64>,
    bipolar_posts: usize,
}

impl Bench {
    fn new(arch: Arch) -> Bench {
        let cosim = Cosim::build(&arch, &BuildOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        Bench { machine: Machine::new(&arch), cosim, arch, modes: BTreeSet::new(), bipolar_posts: 0 }
    }

    /// Runs a graph; the output tensors' codes.
    ///
    /// Panics where they are not the golden model's, and where Verilog and machine model differ in a cycle, a counter or a
    /// byte of memory.
    fn run(&mut self, graph: &Graph, inputs: &[Vec<i32>]) -> Vec<Vec<i32>> {
        let at = &graph.name;
        let program =
            compile(graph, &self.arch, &Options::default()).unwrap_or_else(|e| panic!("{at}: {}", e[0]));
        self.note_modes(&program);
        let mut image = Image::new(&program, inputs).unwrap_or_else(|e| panic!("{at}: {e}"));
        let mut modelled = image.clone();
        let options = RunOptions { watchdog_cycles: 100_000, ..RunOptions::default() };
        let result = self.cosim.run_with(&mut image, &options.clone().into());
        let measured = result.unwrap_or_else(|e| panic!("{at}: {e}"));
        let predicted = self.machine.run(&mut modelled, &options);
        assert_eq!(measured.error, None, "{at}");
        let expected = golden::run(graph, inputs).unwrap_or_else(|e| panic!("{at}: {e}"));
        let codes = program.unpack_output(&image.regions[2]);
        compare(graph, &codes, &expected);
        assert_eq!(measured, predicted, "{at}: cycles measured (left) and predicted (right)");
        assert!(image == modelled, "{at}: machine model and RTL leave different memories");
        codes
    }

    fn note_modes(&mut self, program: &Program) {
        for i in &program.instrs {
            match i.op() {
                Some(Opcode::Pass) => drop(self.modes.insert(i.get("wgt_log2"))),
                Some(Opcode::PostMode) => self.bipolar_posts += i.flag("bipolar") as usize,
                _ => {}
            }
        }
    }
}

/// Every output code is the golden model's.
fn compare(graph: &Graph, got: &[Vec<i32>], expected: &[Vec<i32>]) {
    let n = PATTERNS.len();
    for (&t, got) in graph.outputs.iter().zip(got) {
        let expected = &expected[t];
        assert_eq!(got.len(), expected.len());
        if let Some(i) = (0..got.len()).find(|i| got[*i] != expected[*i]) {
            panic!(
                "{}: pixel {} ({:?} activations) channel {} ({:?} weights): expected {}, got {}",
                graph.tensors[t].name,
                i / n,
                PATTERNS[i / n],
                i % n,
                PATTERNS[i % n],
                expected[i],
                got[i]
            );
        }
    }
}

/// The sums of 1-bit activations under bipolar weights are those of bipolar activations (x = 2 a - 1) too: twice the sum
/// less the sum of the weights. Expected is what the definition with XNOR says: matches less mismatches.
fn compare_bipolar(graph: &Graph, inputs: &[Vec<i32>], got: &[Vec<i32>]) -> usize {
    let mut layers = 0;
    for (node, got) in graph.nodes.iter().zip(got) {
        let Op::Conv(conv) = &node.op else { continue };
        if !conv.weights.bipolar || !conv.requant.raw {
            continue;
        }
        let channels = conv.weights.shape[3];
        for (i, sum) in got.iter().enumerate() {
            let (pixel, oc) = (i / PATTERNS.len(), i % PATTERNS.len());
            let a = &inputs[conv.input][pixel * channels..][..channels];
            let w = &conv.weights.data[oc * channels..][..channels];
            let matches = a.iter().zip(w).filter(|(a, w)| (**a == 1) == (**w == 1)).count() as i32;
            let bipolar = 2 * sum - w.iter().sum::<i32>();
            assert_eq!(bipolar, 2 * matches - channels as i32, "{}: pixel {pixel} channel {oc}", node.name);
        }
        layers += 1;
    }
    layers
}

/// The whole matrix on one configuration.
fn every_width_on(arch: Arch) {
    let seed = std::env::var("BRICKWORK_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    println!("{}: seed {seed}", arch.config.name);
    let mut bench = Bench::new(arch);
    let (mut layers, mut bipolar_layers) = (0, 0);
    for bits in 1..=16 {
        for signed in [false, true] {
            let act = IntType { bits, signed };
            let (graph, inputs) = matrix(&bench.arch, act, seed);
            let got = bench.run(&graph, &inputs);
            layers += graph.nodes.len();
            if act == (IntType { bits: 1, signed: false }) {
                bipolar_layers += compare_bipolar(&graph, &inputs, &got);
            }
        }
    }
    assert_eq!((layers, bipolar_layers), (16 * 2 * 3 * (2 * WEIGHT_BITS.len() + 1), 2));
    let narrowest = bench.arch.brick_bits as i64 - 1;
    assert_eq!(bench.modes, (narrowest..=3).collect(), "every weight mode is used");
    assert_eq!(bench.bipolar_posts > 0, bench.arch.has_sum_column, "XNOR through the sum column");
    println!("{}: {layers} layers exact, cycles as predicted", bench.arch.config.name);
}

#[test]
fn every_width_on_one_bit_bricks() {
    every_width_on(machines::arch("tiny"));
}

#[test]
fn every_width_on_two_bit_bricks() {
    every_width_on(machines::arch("two_bit"));
}

#[test]
#[ignore = "simulates the largest configuration: make test-long"]
fn every_width_on_zynq7020() {
    every_width_on(machines::arch("zynq7020"));
}

#[test]
#[ignore = "simulates the largest configuration of 2-bit bricks: make test-long"]
fn every_width_on_bitfusion() {
    every_width_on(machines::arch("bitfusion"));
}
