// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every unit of the machine model looks like to the control.

use super::buffers::Buffers;
use hdl_gen::isa::{ErrorCode, Instr};

/// A command as the control hands it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    pub instr: Instr,
    /// Number of the instruction in the program.
    pub pc: u32,
}

/// Cycle-level behaviour of one unit: the mirror of its RTL. All methods but `tick` look at the present cycle.
pub trait Unit {
    /// `X_cmd_ready_o` while `instr` is offered.
    fn ready(&self, instr: Instr) -> bool;
    /// `X_busy_o`.
    fn busy(&self) -> bool;
    /// One clock cycle; `accepted` is the command transferred in it. Returns what `X_signal_o` shows in this same cycle
    /// (the tokens can be taken from the next cycle on).
    fn tick(&mut self, accepted: Option<Command>) -> u8;
    /// The function of an accepted instruction, executed all at once on the buffers and the regions of the memory. The
    /// control calls it in the cycle of acceptance, before `tick(Some(command))`.
    fn execute(&mut self, command: Command, buffers: &mut Buffers, regions: &mut [Vec<u8>; 4]);
    /// The unit's busy counter counts in the present cycle: `pass_feed_o`, `wgt_feed_o`, `post_feed_o`.
    fn feeds(&self) -> bool;
    /// `pass_wait_wgt_o` while `instr` is offered.
    fn waits_for_weights(&self, _instr: Instr) -> bool {
        false
    }
    /// A bank word is written in the present cycle, so that the load unit must retry (post).
    fn writes_bank(&self) -> bool {
        false
    }
    /// `err_valid_o` in the present cycle: code and instruction number (post).
    fn error(&self) -> Option<(ErrorCode, u32)> {
        None
    }
    /// `mark_valid_o` in the present cycle (post).
    fn mark(&self) -> Option<u16> {
        None
    }
    /// Cycles for which further `tick(None)`s change nothing that anyone sees (no signal, no change of `ready`,
    /// `busy`, `feeds` and the like, no memory access); lets the simulator skip. 0 is always right.
    fn quiet_cycles(&self) -> u64 {
        0
    }
    /// Advances by `cycles` <= `quiet_cycles()`.
    fn skip(&mut self, cycles: u64) {
        for _ in 0..cycles {
            self.tick(None);
        }
    }
}
