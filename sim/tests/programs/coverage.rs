// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What random programs have reached: each end of each instruction field, each token, each cause of an error.

use hdl_gen::isa::{Instr, LoadDst, Op, Queue, INSTRUCTIONS};
use hdl_gen::Arch;
use std::collections::BTreeMap;
use std::fmt;

/// A way to each error of the ISA's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    UnknownOpcode,
    BeginMissing,
    BeginAgain,
    EndMissing,
    WrongHash,
    OwnWait(Queue),
    OwnSignal(Queue),
    EndWait,
    EndSignal,
    LoadDestination,
    LoadNoTable,
    LoadNoWords,
    LoadNoRows,
    LoadManyRows(LoadDst),
    LoadOffset,
    LoadRange(LoadDst),
    ShiftNoRows,
    ShiftRows,
    ShiftNoGroups,
    ShiftGroups,
    NoTable,
    NoAdd,
    NoBipolar,
    DramOffset,
    FetchFault { decerr: bool },
    LoadFault { port: u32, decerr: bool },
    StoreFault { decerr: bool },
    DeadlockWait(Queue, Queue),
    DeadlockShift,
    DeadlockSwap,
    DeadlockDram,
    SlowMemory,
    TokenOverflow(Queue, Queue),
}

impl Cause {
    /// Those that the configuration has.
    pub fn all(arch: &Arch) -> Vec<Cause> {
        use Cause::*;
        let mut list = vec![
            UnknownOpcode,
            BeginMissing,
            BeginAgain,
            EndMissing,
            WrongHash,
            EndWait,
            EndSignal,
            LoadDestination,
            LoadNoWords,
            LoadNoRows,
            LoadOffset,
            ShiftNoRows,
            ShiftRows,
            ShiftNoGroups,
            ShiftGroups,
            DramOffset,
            DeadlockShift,
            DeadlockSwap,
            DeadlockDram,
            SlowMemory,
        ];
        let lacking = [(arch.has_table, NoTable), (arch.has_table, LoadNoTable), (arch.has_add, NoAdd)];
        list.extend(
            lacking.into_iter().chain([(arch.has_sum_column, NoBipolar)]).filter(|l| !l.0).map(|l| l.1),
        );
        let destinations = LoadDst::ALL.into_iter().filter(|d| *d != LoadDst::Table || arch.has_table);
        list.extend(destinations.clone().map(LoadRange));
        list.extend(destinations.filter(|d| *d != LoadDst::Act).map(LoadManyRows));
        for decerr in [false, true] {
            list.extend([FetchFault { decerr }, StoreFault { decerr }]);
            list.extend((0..arch.read_ports).map(|port| LoadFault { port, decerr }));
        }
        for own in Queue::ALL {
            list.extend([OwnWait(own), OwnSignal(own)]);
            for other in Queue::ALL.into_iter().filter(|q| *q != own) {
                list.extend([DeadlockWait(own, other), TokenOverflow(own, other)]);
            }
        }
        list
    }
}

/// Smallest, largest, any other value.
const KINDS: [&str; 3] = ["smallest", "largest", "other"];

/// Counts of what was dispatched or refused.
#[derive(Default)]
pub struct Coverage {
    fields: BTreeMap<(Op, &'static str), [u32; 3]>,
    waits: BTreeMap<(Op, u8), u32>,
    signals: BTreeMap<(Op, u8), u32>,
    causes: BTreeMap<Cause, u32>,
    pub complete: u32,
    pub failed: u32,
}

impl Coverage {
    pub fn instruction(&mut self, i: Instr) {
        let Some(op) = i.op() else { return };
        for f in op.def().fields.iter().filter(|f| f.width < 64) {
            let (lo, hi) = f.range();
            let value = i.get(f.name);
            let kind = if value == lo {
                0
            } else if value == hi {
                1
            } else {
                2
            };
            self.fields.entry((op, f.name)).or_default()[kind] += 1;
        }
        for q in Queue::ALL {
            *self.waits.entry((op, q.bit())).or_default() += (i.wait_mask() & q.bit() != 0) as u32;
            *self.signals.entry((op, q.bit())).or_default() += (i.signal_mask() & q.bit() != 0) as u32;
        }
    }

    pub fn cause(&mut self, cause: Cause) {
        *self.causes.entry(cause).or_default() += 1;
    }

    /// What has not been reached.
    pub fn missing(&self, arch: &Arch) -> Vec<String> {
        let mut list = vec![];
        for def in INSTRUCTIONS {
            for f in def.fields.iter().filter(|f| f.width < 64) {
                let seen = self.fields.get(&(def.op, f.name)).copied().unwrap_or_default();
                let kinds = if f.width == 1 { 2 } else { 3 };
                let lacking = (0..kinds).filter(|k| seen[*k] == 0);
                list.extend(lacking.map(|k| format!("{}.{}: {} value", def.mnemonic, f.name, KINDS[k])));
            }
            let Some(own) = def.queue else { continue };
            for q in Queue::ALL.into_iter().filter(|q| *q != own) {
                for (name, map) in [("wait", &self.waits), ("signal", &self.signals)] {
                    if map.get(&(def.op, q.bit())).is_none_or(|n| *n == 0) {
                        list.push(format!("{} {name}={}", def.mnemonic, q.name()));
                    }
                }
            }
        }
        let causes = Cause::all(arch).into_iter().filter(|c| !self.causes.contains_key(c));
        list.extend(causes.map(|c| format!("{c:?}")));
        list
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.fields.values().flatten().filter(|n| **n > 0).min().copied().unwrap_or(0);
        write!(
            f,
            "{} programs ended, {} failed; {} fields, each end at least {least} times; {} causes, each at least {} times",
            self.complete,
            self.failed,
            self.fields.len(),
            self.causes.len(),
            self.causes.values().min().copied().unwrap_or(0)
        )
    }
}
