// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machine model, timing model and co-simulation.

pub mod cosim;
pub mod image;
pub mod machine;
