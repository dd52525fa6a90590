// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an accelerator takes of its device.

mod device;
mod model;

pub use device::{Device, Family, DEVICES};
pub use model::{Excess, Fit, Module, Resources};
