// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What lowering refuses, with the layer's name, the value and the limit.

use hdl_gen::isa::EncodeError;
use std::fmt;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// Name of the node (or the graph) it concerns.
    pub layer: String,
    pub kind: CompileErrorKind,
}

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileErrorKind {
    /// The graph breaks a rule of the integer representation.
    BadGraph(String),
    /// No accumulator mode can be proven to hold the sums of this output channel.
    AccumulatorTooWide { channel: usize, lo: i128, hi: i128, limit_bits: u32 },
    /// A 32-bit result may not fit 32 bits.
    ResultTooWide { channel: usize, lo: i128, hi: i128 },
    /// Something needs more room than the configuration has.
    DoesNotFit { what: &'static str, need: usize, limit: usize },
    /// The configuration lacks a function.
    NeedsFeature { feature: &'static str },
    /// Tensors stored in the machine have 1..=16 bits.
    TensorWidth { tensor: String, bits: u8 },
    /// The padding code is not a code of the input type.
    PadCode { code: i32 },
    /// A code or clamp limit outside what the output type stores.
    ClampOutsideType { lo: i32, hi: i32 },
    /// The inputs of a concatenation share a channel block but not rounding, zero point, clamp and table.
    ConcatModes,
    /// A fault of the compiler: an access of the finished program lies outside its buffer or region.
    OutOfBounds { what: &'static str, at: usize, value: usize, limit: usize },
    /// An operand outside its field: the layer is too large for the instruction set.
    Encode(EncodeError),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer `{}`: {}", self.layer, self.kind)
    }
}
impl std::error::Error for CompileError {}

impl fmt::Display for CompileErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CompileErrorKind::*;
        match self {
            BadGraph(why) => write!(f, "{why}"),
            AccumulatorTooWide { channel, lo, hi, limit_bits } => write!(
                f,
                "output channel {channel} can reach {lo}..={hi}, which {limit_bits} bits do not hold; \
                 use narrower activations or weights"
            ),
            OutOfBounds { what, at, value, limit } => write!(
                f,
                "fault of the compiler, please report it: instruction {at}: {what}: {value}, limit {limit}"
            ),
            ResultTooWide { channel, lo, hi } => {
                write!(
                    f,
                    "the 32-bit result of output channel {channel} can reach {lo}..={hi}; scale it down"
                )
            }
            DoesNotFit { what, need, limit } => {
                write!(f, "{what}: {need} needed, the configuration has {limit}")
            }
            NeedsFeature { feature } => {
                write!(f, "the configuration has no `{feature}`; set `requantize.{feature} = true`")
            }
            TensorWidth { tensor, bits } => {
                write!(f, "tensor `{tensor}` has {bits} bits; the machine stores 1..=16")
            }
            PadCode { code } => write!(f, "the padding code {code} is not a value of the input's type"),
            ClampOutsideType { lo, hi } => {
                write!(f, "results of {lo}..={hi} do not fit the output tensor's type")
            }
            ConcatModes => write!(
                f,
                "inputs that share a channel block differ in rounding, zero point, clamp or table; \
                 requantize them before the concatenation"
            ),
            Encode(e) => write!(f, "{e}"),
        }
    }
}

impl CompileErrorKind {
    /// The error, in this layer.
    pub fn at(self, layer: &str) -> CompileError {
        CompileError { layer: layer.into(), kind: self }
    }
}

impl From<EncodeError> for CompileErrorKind {
    fn from(e: EncodeError) -> Self {
        CompileErrorKind::Encode(e)
    }
}
