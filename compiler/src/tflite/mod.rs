// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TFLite importer: fully quantized networks, with the arithmetic of TFLite's reference kernels.
//!
//! - [`flatbuffer`], [`model`], [`names`]: the file's graph as plain data, checked.
//! - [`fixed`]: the kernels' fixed-point arithmetic.
//! - [`lower`]: walks the operators; [`ops`], [`window`], [`shapes`], [`elementwise`]: what each becomes in the integer
//!   graph; [`host`], [`code`]: what the host computes behind it.

pub mod code;
mod dilation;
mod elementwise;
pub mod fixed;
mod flatbuffer;
mod host;
mod lower;
pub mod model;
mod names;
mod ops;
mod pools;
mod shapes;
mod softmax16;
mod transpose_conv;
mod window;

use crate::import::{ImportError, Imported};

/// Imports the bytes of a TFLite file. Errors: everything that is unsupported or damaged, all at once; never panics.
pub fn import(name: &str, bytes: &[u8]) -> Result<Imported, Vec<ImportError>> {
    lower::lower(name, &model::read(bytes)?)
}
