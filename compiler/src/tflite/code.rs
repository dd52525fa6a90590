// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host computes on codes behind the integer graph, as TFLite's reference kernels do.

use super::fixed::{Multiplier, Softmax};
use super::lower::Quant;
use super::softmax16::Softmax16;
use crate::npz::{Array, Data};
use serde::{Deserialize, Serialize};

/// An operator on codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CodeOp {
    /// Along the last axis.
    Softmax(Softmax),
    Softmax16(Softmax16),
    /// `scale * (code - zero_point)`, the product in float64, rounded once.
    Dequantize {
        scale: f32,
        zero_point: i32,
    },
    /// Code `lo + i` becomes `table[i]`.
    Table {
        lo: i32,
        table: Vec<i32>,
    },
}

impl CodeOp {
    /// Name of the kind, for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            CodeOp::Softmax(_) | CodeOp::Softmax16(_) => "softmax",
            CodeOp::Dequantize { .. } => "dequantize",
            CodeOp::Table { .. } => "table",
        }
    }

    /// Codes of one quantization to those of another.
    pub fn requantize(from: &Quant, to: &Quant) -> Result<CodeOp, String> {
        let f = requantization(from, to)?;
        let (lo, hi) = from.range();
        Ok(CodeOp::Table { lo, table: (lo..=hi).map(f).collect() })
    }

    /// Results for the codes of `input`.
    pub fn run(&self, input: &Array) -> Data {
        let codes = input.to_i32().unwrap_or_default();
        let row = input.shape.last().copied().unwrap_or(1).max(1);
        match self {
            CodeOp::Softmax(s) => Data::I32(codes.chunks(row).flat_map(|r| s.row(r)).collect()),
            CodeOp::Softmax16(s) => Data::I32(codes.chunks(row).flat_map(|r| s.row(r)).collect()),
            CodeOp::Dequantize { scale, zero_point } => {
                let real = |c: i32| (*scale as f64 * (c as i64 - *zero_point as i64) as f64) as f32;
                Data::F32(codes.into_iter().map(real).collect())
            }
            CodeOp::Table { lo, table } => {
                Data::I32(codes.into_iter().map(|c| table[(c - lo) as usize]).collect())
            }
        }
    }
}

/// The kernel's function from codes to codes of another quantization.
pub fn requantization(from: &Quant, to: &Quant) -> Result<impl Fn(i32) -> i32, String> {
    let m = Multiplier::new(from.scale as f64 / to.scale as f64)?;
    let (zero_in, zero_out, (lo, hi)) = (from.zero_point, to.zero_point, to.range());
    Ok(move |code: i32| m.apply(code - zero_in).saturating_add(zero_out).clamp(lo, hi))
}
