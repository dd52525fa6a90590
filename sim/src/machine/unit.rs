// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every unit of the machine model looks like to the control.

use hdl_gen::isa::Instr;

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
    /// Cycles for which further `tick(None)`s change nothing that anyone sees (no signal, no change of `ready` or `busy`,
    /// no memory access); lets the simulator skip. 0 is always right.
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
