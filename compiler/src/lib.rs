// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Importers, integer graph, lowering and program files.

#[cfg(test)]
#[path = "../tests/support/random.rs"]
mod random;

pub mod check;
pub mod float_layers;
pub mod functions;
pub mod golden;
pub mod host;
pub mod import;
pub mod ir;
pub mod lower;
pub mod npz;
pub mod onnx;
mod phases;
pub mod program;
pub mod requant;
pub mod tail;
pub mod tflite;
