// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The golden network model: executes an integer graph layer by layer; knows no hardware.
//!
//! Exact or an error: a value that does not fit where the machine holds it ([`GoldenError`]) is never wrapped.
//!
//! [`reference`] is the definition, [`Plan`] the fast way to the same bits: weights packed once, vector instructions of the
//! processor at hand, threads.

mod codes;
mod conv;
mod depthwise;
mod finish;
mod isa;
mod plan;
mod pointwise;
pub mod reference;
mod window;

pub use isa::Instructions;
pub use plan::Plan;

use crate::check::IrError;
use crate::ir::*;
use hdl_gen::arch::ACC_VALUE_BITS;
use hdl_gen::numfmt::round_scaled;
use std::fmt;

/// What stops a run.
#[derive(Clone, Debug, PartialEq)]
pub enum GoldenError {
    /// The graph breaks its rules.
    Graph(Vec<IrError>),
    /// Not as many inputs as the graph has, or one of another length.
    Input { expected: Vec<usize>, found: Vec<usize> },
    /// An input code lies outside its tensor's type.
    Code { tensor: String, index: usize, value: i32 },
    /// A value needs more than `bits` bits at output `[y, x, channel]` of a node.
    Overflow { node: String, what: &'static str, at: [usize; 3], value: i64, bits: u32 },
}

impl fmt::Display for GoldenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GoldenError::Graph(errors) => errors.iter().try_for_each(|e| writeln!(f, "{e}")),
            GoldenError::Input { expected, found } => {
                write!(f, "the graph takes inputs of {expected:?} codes, was given {found:?}")
            }
            GoldenError::Code { tensor, index, value } => {
                write!(f, "input {tensor}: code {value} at {index} is outside the tensor's type")
            }
            GoldenError::Overflow { node, what, at: [y, x, c], value, bits } => {
                write!(f, "{node}: {what} {value} at y {y} x {x} channel {c} needs more than {bits} bits")
            }
        }
    }
}

impl std::error::Error for GoldenError {}

/// `what`, value and width of something that does not fit.
type Misfit = (&'static str, i64, u32);

fn check_bits(what: &'static str, value: i64, bits: u32) -> Result<i64, Misfit> {
    let top = 1i64 << (bits - 1);
    if (-top..top).contains(&value) {
        Ok(value)
    } else {
        Err((what, value, bits))
    }
}

/// Biased value times multiplier, rounded.
fn scale(acc: i64, p: &ChannelParams, rounding: Rounding) -> Result<i64, Misfit> {
    let v = check_bits("biased accumulator", acc + p.bias as i64, ACC_VALUE_BITS)?;
    Ok(round_scaled(v, p, rounding))
}

impl Requant {
    /// The code for an accumulator of `channel`.
    ///
    /// Errors: the biased accumulator exceeds 42 bits, or a raw result 32.
    pub fn apply(&self, acc: i64, channel: usize) -> Result<i32, (&'static str, i64, u32)> {
        let y = scale(acc, self.channel(channel), self.rounding)?;
        if self.raw {
            return Ok(check_bits("raw result", y, 32)? as i32);
        }
        let z =
            y.saturating_add(self.zero_point as i64).clamp(self.clamp.0 as i64, self.clamp.1 as i64) as i32;
        Ok(match &self.table {
            Some(table) => table[(z & 255) as usize] as i32,
            None => z,
        })
    }
}

/// Executes a graph: the inputs' codes (`[y][x][c]`, in the order of `graph.inputs`) give the codes of every tensor, by
/// tensor number. For several inputs, one [`Plan`] serves all.
pub fn run(graph: &Graph, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
    Plan::new(graph)?.run(inputs)
}

/// The codes of the graph's outputs alone.
pub fn outputs(graph: &Graph, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
    Plan::new(graph)?.outputs(inputs)
}

fn check_inputs(graph: &Graph, inputs: &[Vec<i32>]) -> Result<(), GoldenError> {
    let expected = graph.inputs.iter().map(|&t| graph.tensors[t].len()).collect::<Vec<_>>();
    let found = inputs.iter().map(Vec::len).collect::<Vec<_>>();
    if expected != found {
        return Err(GoldenError::Input { expected, found });
    }
    for (&t, codes) in graph.inputs.iter().zip(inputs) {
        let tensor = &graph.tensors[t];
        let (lo, hi) = tensor.ty.range();
        let outside = |c: i32| (c as i64) < lo || c as i64 > hi;
        let (least, most) = codes.iter().fold((i32::MAX, i32::MIN), |(a, b), &c| (a.min(c), b.max(c)));
        if !codes.is_empty() && (outside(least) || outside(most)) {
            let index = codes.iter().position(|&c| outside(c)).unwrap_or(0);
            return Err(GoldenError::Code { tensor: tensor.name.clone(), index, value: codes[index] });
        }
    }
    Ok(())
}
