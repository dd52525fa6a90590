// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ONNX importer: QONNX networks (`Quant`, `BipolarQuant`, `Trunc`, `MultiThreshold`), QDQ networks (`QuantizeLinear`,
//! `DequantizeLinear`) and integer operators (`QLinearConv`, `ConvInteger` ...).
//!
//! - [`model`]: the file's graph as plain data, checked.
//! - [`constant`]: constant tensors and the operators that are evaluated while importing.
//! - [`value`]: tensors whose values are known as a chain of float32 operations on integers.
//! - [`linear`], [`linear_constant`]: QuantizeLinear, DequantizeLinear and what is built of them; [`combine`]: operators on several activations;
//!   [`pieces`]: rules that no single line gives; [`host`], [`host_codes`]: what is left to the host.
//! - [`lower`]: walks the nodes; [`ops`]: what each operator does to such tensors, by families: [`arithmetic`], [`quantizers`],
//!   [`products`], [`transpose_conv`],
//!   [`windows`], [`moves`], [`shuffles`]; [`emit`]: from quantizer to quantizer, the nodes of the integer graph, with requantizations ([`requants`],
//!   [`pair_sum`]) that are exact for every value.

pub mod arithmetic;
pub mod channels_last;
pub mod combine;
pub mod constant;
pub mod emit;
pub mod evaluate;
pub mod host;
pub mod host_codes;
pub mod host_layers;
pub mod linear;
pub mod linear_constant;
pub mod lower;
pub mod model;
pub mod moves;
pub mod ops;
pub mod pair_sum;
pub mod pieces;
pub mod products;
pub mod quantizers;
pub mod requants;
pub mod shuffles;
pub mod transpose_conv;
pub mod value;
pub mod windows;

use crate::import::{ImportError, Imported};

/// Imports the bytes of an ONNX file. Errors: everything that is unsupported or damaged, all at once; never panics.
pub fn import(name: &str, bytes: &[u8]) -> Result<Imported, Vec<ImportError>> {
    lower::lower(name, &model::read(bytes)?)
}
