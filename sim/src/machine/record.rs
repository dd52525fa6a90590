// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When each instruction was at work, for reports.

use super::unit::Command;
use hdl_gen::isa::Queue;
use serde::Serialize;

/// One instruction at work in its unit in the cycles `start..end`.
///
/// - load: from its acceptance to its last word in the buffer; several overlap, the next one's data are on their way.
/// - wgt, pass: cycles in which words, or steps, enter the array.
/// - post: from its acceptance to its last result in the banks or answered by the memory.
/// - An instruction that only sets registers or moves tokens: one cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Number of the instruction in the program.
    pub pc: u32,
    pub start: u64,
    pub end: u64,
}

/// What a run of the machine model did when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recording {
    /// Per queue, in order.
    pub spans: [Vec<Span>; 4],
    /// Per queue: the cycles `first..end` in which its unit was busy, as `unit_busy_o` shows them.
    pub busy: [Vec<(u64, u64)>; 4],
}

impl Recording {
    /// An instruction was accepted in cycle `now`; its unit works from the next cycle on, for `cycles` cycles if that is
    /// known already.
    pub(super) fn accepted(&mut self, queue: Queue, command: Command, now: u64, cycles: Option<u64>) {
        let end = cycles.map_or(now, |n| now + 1 + n);
        self.spans[queue.index()].push(Span { pc: command.pc, start: now + 1, end });
    }

    /// Instruction `pc` of a queue was finished in the cycle before `end`.
    pub(super) fn finished(&mut self, queue: Queue, pc: u32, end: u64) {
        let open = self.spans[queue.index()].iter_mut().rev().find(|s| s.pc == pc);
        open.into_iter().for_each(|s| s.end = end.max(s.start + 1));
    }

    /// The last instruction of a queue is still at work.
    pub(super) fn open(&self, queue: Queue) -> Option<u32> {
        self.spans[queue.index()].last().filter(|s| s.end < s.start).map(|s| s.pc)
    }

    /// The busy units from cycle `now` on.
    pub(super) fn busy(&mut self, now: u64, busy: [bool; 4]) {
        for (list, busy) in self.busy.iter_mut().zip(busy) {
            let open = list.last_mut().filter(|l| l.1 == u64::MAX);
            match (open, busy) {
                (Some(last), false) => last.1 = now,
                (None, true) => list.push((now, u64::MAX)),
                _ => {}
            }
        }
    }

    /// The run ended before cycle `now`.
    pub(super) fn close(&mut self, now: u64) {
        self.busy(now, [false; 4]);
        self.spans.iter_mut().flatten().filter(|s| s.end < s.start).for_each(|s| s.end = now.max(s.start));
    }
}
