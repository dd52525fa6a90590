// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration, architecture, instruction set and Verilog generation of Brickwork.

pub mod arch;
pub mod config;
pub mod emit;
pub mod fit;
pub mod isa;
pub mod leaf;
pub mod numfmt;

pub use arch::Arch;
pub use config::Config;
