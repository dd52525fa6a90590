// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a random case consists of: names of everything that must have been drawn.

use brickwork_compiler::ir::*;
use brickwork_compiler::program::Program;
use hdl_gen::isa::{Instr, Op as Opcode};
use hdl_gen::Arch;
use std::collections::{BTreeMap, BTreeSet};

/// How many cases had each feature.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<String, usize>);

impl Coverage {
    pub fn count(&mut self, features: &BTreeSet<String>) {
        features.iter().for_each(|f| *self.0.entry(f.clone()).or_default() += 1);
    }

    /// Those of `required` that no case had.
    pub fn missing(&self, required: &[String]) -> Vec<String> {
        required.iter().filter(|f| !self.0.contains_key(*f)).cloned().collect()
    }

    /// One line.
    pub fn summary(&self) -> String {
        self.0.iter().map(|(f, n)| format!("{f} {n}")).collect::<Vec<_>>().join(", ")
    }
}

/// Features that do not depend on the accelerator, except the last few of [`features`].
pub fn required() -> Vec<String> {
    let mut list: Vec<String> = [
        "dilation",
        "padding",
        "asymmetric padding",
        "pad code not 0",
        "depthwise",
        "groups",
        "dense",
        "channels no multiple of lanes",
        "1 pixel",
        "1 channel",
        "more pixels than accumulators",
        "bipolar weights",
        "function table",
        "thresholds",
        "raw result",
        "negative multiplier",
        "shift 63",
        "extreme bias",
        "extreme multiplier",
        "an output twice",
        "an input as output",
        "a layer that nobody reads",
        "addition",
        "addition with shift 20",
        "residual",
        "concatenation",
        "concatenation inside a block",
        "maximum",
        "maximum of overlapping windows",
        "maximum with padding",
        "average",
        "average with padding",
        "global average",
        "copy",
        "upsample",
        "slice",
        "crop",
        "copy with requantization",
        "reshape",
        "several layers",
        "several outputs",
        "several inputs",
        "fused maximum",
        "1-bit bricks",
        "2-bit bricks",
        "XNOR",
        "16-bit weights in two passes",
        "bands or blocks of pixels",
    ]
    .map(String::from)
    .to_vec();
    list.extend((1..=16).map(|b| format!("activations {b} bits")));
    list.extend([1, 2, 3, 4, 5, 8, 16].map(|b| format!("weights {b} bits")));
    list.extend(
        ["activations", "weights"].iter().flat_map(|w| [format!("signed {w}"), format!("unsigned {w}")]),
    );
    list.extend((1..=11).map(|k| format!("kernel {k}")));
    list.extend((1..=4).map(|s| format!("stride {s}")));
    list.extend(Rounding::ALL.map(|r| format!("rounding {r:?}")));
    list
}

/// What a case has.
pub fn features(graph: &Graph, program: &Program, arch: &Arch) -> BTreeSet<String> {
    let mut f = Features { graph, arch, names: BTreeSet::new() };
    graph.inputs.iter().for_each(|t| f.activations(*t));
    graph.nodes.iter().for_each(|n| f.node(&n.op));
    f.mark(graph.nodes.len() > 2, "several layers");
    f.mark(graph.inputs.len() > 1, "several inputs");
    f.mark(graph.outputs.len() > 1, "several outputs");
    let twice = |(i, t): (usize, &TensorId)| graph.outputs[..i].contains(t);
    f.mark(graph.outputs.iter().enumerate().any(twice), "an output twice");
    f.mark(graph.outputs.iter().any(|t| graph.inputs.contains(t)), "an input as output");
    f.mark(graph.nodes.iter().any(|n| !is_read(graph, n.op.output())), "a layer that nobody reads");
    let fused = |kind: fn(&Op) -> bool| {
        let names = program.info.layers.iter().flat_map(|l| l.name.split('+').skip(1));
        names.into_iter().any(|name| graph.nodes.iter().any(|n| n.name == name && kind(&n.op)))
    };
    f.mark(fused(|op| matches!(op, Op::Pool(_))), "fused maximum");
    f.mark(fused(|op| matches!(op, Op::Copy(_))), "fused function");
    f.mark(arch.brick_bits == 1, "1-bit bricks");
    f.mark(arch.brick_bits == 2, "2-bit bricks");
    let any = |test: fn(&Instr) -> bool| program.instrs.iter().any(test);
    f.mark(any(|i| i.op() == Some(Opcode::PostMode) && i.flag("bipolar")), "XNOR");
    f.mark(any(|i| i.op() == Some(Opcode::Pass) && i.flag("shift8")), "16-bit weights in two passes");
    f.mark(any(|i| i.op() == Some(Opcode::Load) && i.get("rows") > 1), "rectangles");
    let posts = program.instrs.iter().filter(|i| i.op() == Some(Opcode::Post)).count();
    f.mark(posts > 2 * graph.nodes.len(), "bands or blocks of pixels");
    f.names
}

fn is_read(graph: &Graph, t: TensorId) -> bool {
    graph.outputs.contains(&t) || graph.nodes.iter().any(|n| n.op.inputs().contains(&t))
}

struct Features<'a> {
    graph: &'a Graph,
    arch: &'a Arch,
    names: BTreeSet<String>,
}

impl Features<'_> {
    fn mark(&mut self, has: bool, name: &str) {
        if has {
            self.names.insert(name.into());
        }
    }

    fn tensor(&self, t: TensorId) -> &Tensor {
        &self.graph.tensors[t]
    }

    /// A tensor that is read.
    fn activations(&mut self, t: TensorId) {
        let Tensor { ty, shape, .. } = self.tensor(t).clone();
        if ty.bits > 16 {
            return;
        }
        self.mark(true, &format!("activations {} bits", ty.bits));
        self.mark(true, if ty.signed { "signed activations" } else { "unsigned activations" });
        self.mark(shape[2] % self.arch.lanes as usize != 0, "channels no multiple of lanes");
        self.mark(shape[0] * shape[1] == 1, "1 pixel");
        self.mark(shape[2] == 1, "1 channel");
    }

    fn node(&mut self, op: &Op) {
        op.inputs().into_iter().for_each(|t| self.activations(t));
        let [oh, ow, _] = self.tensor(op.output()).shape;
        self.mark(oh * ow > self.arch.acc_depth as usize, "more pixels than accumulators");
        match op {
            Op::Conv(c) => self.conv(c),
            Op::Add(a) => self.add(a),
            Op::Pool(p) => self.pool(p),
            Op::Concat(c) => self.concat(c),
            Op::Copy(c) => self.copy(c),
            Op::Reshape(_) => self.mark(true, "reshape"),
        }
    }

    fn requant(&mut self, r: &Requant, output: TensorId) {
        let ty = self.tensor(output).ty;
        let whole = |(lo, hi): (i32, i32)| (lo as i64, hi as i64) == ty.range();
        self.mark(true, &format!("rounding {:?}", r.rounding));
        self.mark(r.table.is_some(), "function table");
        self.mark(r.raw, "raw result");
        self.mark(r.channels.iter().any(|c| c.multiplier < 0), "negative multiplier");
        self.mark(r.channels.iter().any(|c| c.shift == 63), "shift 63");
        let ends = [i32::MIN, i32::MAX];
        self.mark(r.channels.iter().any(|c| ends.contains(&c.bias)), "extreme bias");
        self.mark(r.channels.iter().any(|c| c.multiplier == i32::MIN), "extreme multiplier");
        let counts = r.rounding == Rounding::Floor && r.zero_point as i64 == ty.range().0 && whole(r.clamp);
        let placed = r.channels.iter().any(|c| c.addend != 0 && c.multiplier != i32::MAX);
        self.mark(ty.bits <= 4 && counts && placed && r.table.is_none(), "thresholds");
    }

    fn pads(&mut self, p: [usize; 4]) {
        self.mark(p != [0; 4], "padding");
        self.mark(p[0] != p[2] || p[1] != p[3], "asymmetric padding");
    }

    fn conv(&mut self, c: &Conv) {
        let [_, kh, kw, icg] = c.weights.shape;
        self.mark(true, &format!("kernel {kh}"));
        self.mark(true, &format!("kernel {kw}"));
        c.stride.iter().for_each(|s| self.mark(true, &format!("stride {s}")));
        self.mark(c.dilation.iter().zip([kh, kw]).any(|(d, k)| *d > 1 && k > 1), "dilation");
        self.pads(c.pads);
        self.mark(c.pads != [0; 4] && c.pad_code != 0, "pad code not 0");
        self.mark(c.groups > 1 && icg == 1, "depthwise");
        self.mark(c.groups > 1 && icg > 1, "groups");
        let [h, w, _] = self.tensor(c.input).shape;
        self.mark([h, w, kh, kw] == [1; 4] && c.groups == 1, "dense");
        if c.weights.bipolar {
            self.mark(true, "bipolar weights");
        } else {
            let ty = c.weights.ty;
            self.mark(true, &format!("weights {} bits", ty.bits));
            self.mark(true, if ty.signed { "signed weights" } else { "unsigned weights" });
        }
        self.requant(&c.requant, c.output);
    }

    fn add(&mut self, a: &Add) {
        self.mark(true, "addition");
        self.mark(a.left_shift == 20, "addition with shift 20");
        let made = |t: TensorId| self.graph.nodes.iter().any(|n| n.op.output() == t);
        self.mark(made(a.b) && a.a != a.b, "residual");
        self.requant(&a.sum, a.output);
    }

    fn pool(&mut self, p: &Pool) {
        let padded = p.pads != [0; 4];
        let [h, w, _] = self.tensor(p.input).shape;
        match &p.kind {
            PoolKind::Max => {
                self.mark(true, "maximum");
                self.mark(padded, "maximum with padding");
                let overlap = (0..2).any(|a| p.stride[a] < p.kernel[a]);
                self.mark(overlap, "maximum of overlapping windows");
            }
            PoolKind::Sum(r) => {
                self.mark(true, "average");
                self.mark(padded, "average with padding");
                self.mark(p.kernel == [h, w] && h * w > 1, "global average");
                self.requant(r, p.output);
            }
        }
    }

    fn concat(&mut self, c: &Concat) {
        self.mark(true, "concatenation");
        let first = self.tensor(c.inputs[0]).shape[2];
        self.mark(
            c.inputs.len() > 1 && !first.is_multiple_of(self.arch.lanes as usize),
            "concatenation inside a block",
        );
        c.requants.iter().flatten().for_each(|r| self.requant(r, c.output));
    }

    fn copy(&mut self, c: &Copy) {
        let ([h, w, ic], [oh, ow, oc]) = (self.tensor(c.input).shape, self.tensor(c.output).shape);
        self.mark(true, "copy");
        self.mark(c.upsample > 1, "upsample");
        self.mark(oc < ic, "slice");
        self.mark(oh < h * c.upsample || ow < w * c.upsample, "crop");
        self.mark(c.requant.is_some(), "copy with requantization");
        c.requant.iter().for_each(|r| self.requant(r, c.output));
    }
}
