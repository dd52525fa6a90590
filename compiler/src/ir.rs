// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The integer graph: what every importer produces, what the golden model executes and what lowering consumes.
//!
//! All values are *codes* (stored integers). Zero points, batch norms and scales are already folded into requantization, so
//! that each operator has exact integer semantics. Layout is `[y][x][c]`, batch 1.

pub use hdl_gen::numfmt::{ChannelParams, Rounding};
use serde::{Deserialize, Serialize};

/// Integer type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IntType {
    /// 1..=16 for tensors that the machine stores, 32 for raw results.
    pub bits: u8,
    pub signed: bool,
}

pub type TensorId = usize;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    pub name: String,
    /// `[h, w, c]`; dense vectors are `[1, 1, c]`.
    pub shape: [usize; 3],
    pub ty: IntType,
    /// real = scale * (code - zero_point); for people and for host operators, not used by integer operators.
    pub scale: f64,
    pub zero_point: i32,
}

/// From accumulators to codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requant {
    /// One per output channel.
    pub channels: Vec<ChannelParams>,
    pub rounding: Rounding,
    /// Added after rounding, before the clamp.
    pub zero_point: i32,
    /// Clamp, inclusive, within -65536..=65535.
    pub clamp: (i32, i32),
    /// 256 entries indexed by the clamped value's low 8 bits (two's complement).
    pub table: Option<Vec<i16>>,
    /// 32-bit result: no zero point, clamp, table.
    pub raw: bool,
}

/// Weights `[oc][kh][kw][ic/groups]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub shape: [usize; 4],
    pub data: Vec<i32>,
    /// Width of the values in `data`, 1..=16.
    pub ty: IntType,
    /// All values are -1 or +1 (then `ty` is 2 bits signed).
    pub bipolar: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    pub input: TensorId,
    pub output: TensorId,
    pub weights: Weights,
    /// `[y, x]`.
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    /// Code that a padded position carries (the input's zero point).
    pub pad_code: i32,
    pub groups: usize,
    pub requant: Requant,
}

/// TFLite-style addition: `s = requant_sum(requant_a(a) + requant_b(b))`, all three with `rounding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Add {
    pub a: TensorId,
    pub b: TensorId,
    pub output: TensorId,
    /// `(code << left_shift + bias) * multiplier ...`; left_shift is 0 or 20.
    pub left_shift: u8,
    pub params_a: ChannelParams,
    pub params_b: ChannelParams,
    /// One channel entry, used for all channels.
    pub sum: Requant,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub input: TensorId,
    pub output: TensorId,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// `[top, left, bottom, right]`; a padded position carries `pad_code`.
    pub pads: [usize; 4],
    pub pad_code: i32,
    pub kind: PoolKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PoolKind {
    Max,
    /// Sum of the codes, then requantization (one channel entry for all channels).
    Sum(Requant),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    pub inputs: Vec<TensorId>,
    pub output: TensorId,
    /// One per input; `None` copies the codes.
    pub requants: Vec<Option<Requant>>,
}

/// Channel slice, pixel crop, nearest upsampling and requantization in one: `out[y][x][c] = q(in[y / up][x / up][c + first])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    pub input: TensorId,
    pub output: TensorId,
    pub first_channel: usize,
    pub upsample: usize,
    pub requant: Option<Requant>,
}

/// Same codes, other shape, in `[y][x][c]` order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reshape {
    pub input: TensorId,
    pub output: TensorId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    Conv(Conv),
    Add(Add),
    Pool(Pool),
    Concat(Concat),
    Copy(Copy),
    Reshape(Reshape),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub op: Op,
}

/// Nodes stand in an order in which they can be executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    pub name: String,
    pub tensors: Vec<Tensor>,
    pub nodes: Vec<Node>,
    pub inputs: Vec<TensorId>,
    pub outputs: Vec<TensorId>,
}

impl IntType {
    pub const RAW: IntType = IntType { bits: 32, signed: true };

    /// Smallest and largest value.
    pub fn range(self) -> (i64, i64) {
        let top = 1i64 << (self.bits.clamp(1, 63) - self.signed as u8);
        if self.signed {
            (-top, top - 1)
        } else {
            (0, top - 1)
        }
    }

    pub fn contains(self, value: i64) -> bool {
        let (lo, hi) = self.range();
        (lo..=hi).contains(&value)
    }

    /// The narrowest type that holds `lo..=hi`; unsigned when `lo >= 0`.
    pub fn holding(lo: i64, hi: i64) -> IntType {
        let signed = lo < 0;
        let magnitude = hi.max(if signed { -(lo + 1) } else { 0 }).max(0);
        let bits = (64 - magnitude.leading_zeros()) as u8 + signed as u8;
        IntType { bits: bits.max(1), signed }
    }
}

impl Tensor {
    /// Number of codes.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Requant {
    /// The parameters of `channel`; a single entry serves all channels.
    pub fn channel(&self, channel: usize) -> &ChannelParams {
        &self.channels[if self.channels.len() == 1 { 0 } else { channel }]
    }
}

impl Op {
    /// Tensors that the operator reads.
    pub fn inputs(&self) -> Vec<TensorId> {
        match self {
            Op::Conv(o) => vec![o.input],
            Op::Add(o) => vec![o.a, o.b],
            Op::Pool(o) => vec![o.input],
            Op::Concat(o) => o.inputs.clone(),
            Op::Copy(o) => vec![o.input],
            Op::Reshape(o) => vec![o.input],
        }
    }

    /// All tensors that the operator reads or writes, to renumber them.
    pub fn tensors_mut(&mut self) -> Vec<&mut TensorId> {
        match self {
            Op::Conv(o) => vec![&mut o.input, &mut o.output],
            Op::Add(o) => vec![&mut o.a, &mut o.b, &mut o.output],
            Op::Pool(o) => vec![&mut o.input, &mut o.output],
            Op::Concat(o) => o.inputs.iter_mut().chain([&mut o.output]).collect(),
            Op::Copy(o) => vec![&mut o.input, &mut o.output],
            Op::Reshape(o) => vec![&mut o.input, &mut o.output],
        }
    }

    /// The tensor that the operator writes.
    pub fn output(&self) -> TensorId {
        match self {
            Op::Conv(o) => o.output,
            Op::Add(o) => o.output,
            Op::Pool(o) => o.output,
            Op::Concat(o) => o.output,
            Op::Copy(o) => o.output,
            Op::Reshape(o) => o.output,
        }
    }

    /// Name of the kind, for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Conv(_) => "conv",
            Op::Add(_) => "add",
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            Op::Pool(_) => "sum_pool",
            Op::Concat(_) => "concat",
            Op::Copy(_) => "copy",
            Op::Reshape(_) => "reshape",
        }
    }
}
