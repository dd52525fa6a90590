// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arithmetic leaf cells, written in rust-hdl: simulated natively by their tests, printed as Verilog by [`emit`].
//!
//! rust-hdl sizes an operator by its operands, Verilog by its context; therefore the cells here use operands of one
//! width and logic operators only, and every printed cell is compared with its definition under Verilator and by SAT
//! (`tests/leaf.rs`).

pub mod brick;
pub mod emit;
pub mod lane_count;
pub mod requant;

pub use brick::BitBrick;
pub use lane_count::LaneCount;
pub use requant::RoundIncrement;
