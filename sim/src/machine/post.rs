// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The mirror of the post side: what a `post` computes, and in which cycle it does what.
//!
//! [`PostUnit`] keeps the two apart. `execute` does the whole function of an instruction on the buffers and the memory
//! regions at once; `tick` moves registers that have the names and the meaning of those in `post_unit.v`, without data.

mod function;
mod timing;

use super::buffers::Buffers;
use super::unit::{Command, Unit};
use crate::image::RunOptions;
use function::PostFunction;
use hdl_gen::isa::{ErrorCode, Instr};
use hdl_gen::Arch;
use timing::PostTiming;

/// Post-processing and the store engine with its memory port.
#[derive(Clone, Debug)]
pub struct PostUnit {
    function: PostFunction,
    timing: PostTiming,
}

impl PostUnit {
    /// The unit after reset. Timing is exact where the memory does not stall (`options.timing.stall` is not looked at).
    pub fn new(arch: &Arch, options: &RunOptions) -> Self {
        PostUnit { function: PostFunction::new(arch, options), timing: PostTiming::new(arch, options) }
    }

    /// No `post` ends in this cycle, and nothing is to be told: no mark, no error.
    pub fn is_inside(&self) -> bool {
        self.timing.is_inside()
    }

    /// An error stops the machine with the cycle that was ticked last: what the present `post` has not sent is not stored.
    /// The unit is of no further use.
    pub fn abandon(&mut self, regions: &mut [Vec<u8>; 4]) {
        self.function.take_back(self.timing.words_sent(), regions);
    }
}

impl Unit for PostUnit {
    fn ready(&self, _instr: Instr) -> bool {
        self.timing.ready()
    }
    fn busy(&self) -> bool {
        !self.timing.ready()
    }
    fn tick(&mut self, accepted: Option<Command>) -> u8 {
        self.timing.tick(accepted)
    }
    fn execute(&mut self, command: Command, buffers: &mut Buffers, regions: &mut [Vec<u8>; 4]) {
        self.function.execute(command.instr, buffers, regions);
    }
    fn feeds(&self) -> bool {
        self.timing.feeds()
    }
    fn writes_bank(&self) -> bool {
        self.timing.writes_bank()
    }
    fn error(&self) -> Option<(ErrorCode, u32)> {
        self.timing.error()
    }
    fn mark(&self) -> Option<u16> {
        self.timing.mark()
    }
    fn quiet_cycles(&self) -> u64 {
        self.timing.quiet_cycles()
    }
    fn skip(&mut self, cycles: u64) {
        self.timing.skip(cycles);
    }
}
