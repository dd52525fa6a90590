// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a run takes and gives; the same for the machine model and the co-simulation.

use brickwork_compiler::program::{Program, ProgramError};
use hdl_gen::isa::{ErrorCode, Instr};
use serde::Serialize;

/// Bytes between the bases of two regions in the simulated memory.
pub const REGION_STRIDE: u64 = 0x1000_0000;
/// Address of the program in the simulated memory; region r is at `REGION_STRIDE * (r + 1)`.
pub const PROGRAM_BASE: u64 = 0x0010_0000;

/// Byte address of a region in the simulated memory.
pub fn region_base(region: usize) -> u64 {
    REGION_STRIDE * (region as u64 + 1)
}

/// A program and its memory: region 0 constants, 1 input, 2 output, 3 scratch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    pub program: Vec<Instr>,
    /// Reads beyond the end give 0, writes beyond the end are lost.
    pub regions: [Vec<u8>; 4],
}

impl Image {
    /// A program with its inputs (each `[y][x][c]` codes) in memory. Errors: inputs that are not the program's.
    pub fn new(program: &Program, inputs: &[Vec<i32>]) -> Result<Image, ProgramError> {
        let info = &program.info;
        let input = program.pack_input(inputs)?;
        let regions =
            [program.constants.clone(), input, vec![0; info.output_bytes], vec![0; info.scratch_bytes]];
        Ok(Image { program: program.instrs.clone(), regions })
    }
}

/// How the memory behaves. `latency_cycles`: from an accepted address to the first beat (reads), from the last data beat
/// to the response (writes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryTiming {
    pub latency_cycles: u32,
    /// Chance in 1/256 per cycle and channel that the memory stalls; 0 = never.
    pub stall: u8,
    /// Seed of the stalls.
    pub seed: u64,
}

impl Default for MemoryTiming {
    fn default() -> Self {
        MemoryTiming { latency_cycles: 40, stall: 0, seed: 1 }
    }
}

/// Addresses that answer with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// First byte address of the simulated memory (see [`region_base`]) and number of bytes.
    pub start: u64,
    pub bytes: u64,
    /// DECERR instead of SLVERR.
    pub decerr: bool,
}

impl Fault {
    /// One of the `bytes` bytes from `address` on answers with the error.
    pub fn touches(&self, address: u64, bytes: u64) -> bool {
        self.start < address + bytes && address < self.start + self.bytes
    }
}

/// How a program is run.
///
/// A beat is faulty when one of its 8 bytes is. A faulty read beat answers with the error and data 0; a write burst with at least one faulty beat answers
/// with the error and none of its faulty beats is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunOptions {
    pub timing: MemoryTiming,
    /// Value of the `WATCHDOG` register: cycles without progress before an error; 0 = off.
    pub watchdog_cycles: u32,
    pub faults: Vec<Fault>,
}

/// What the counters of the machine said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub pass_busy: u32,
    pub pass_wait_token: u32,
    pub pass_wait_wgt: u32,
    pub load_busy: u32,
    pub post_busy: u32,
    pub wgt_busy: u32,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunResult {
    /// Value of the cycle counter at the end.
    pub cycles: u64,
    /// Error and number of the instruction.
    pub error: Option<(ErrorCode, u32)>,
    /// Layer numbers of `post.mark` and the cycle in which each was reached.
    pub marks: Vec<(u16, u64)>,
    pub counters: Counters,
}
