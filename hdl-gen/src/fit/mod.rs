// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an accelerator takes of its device.

mod device;

pub use device::{Device, Family, DEVICES};
