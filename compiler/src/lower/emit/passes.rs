// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Passes, their weights and their loop nests.

use super::super::layout::Layout;
use super::super::nest::Nest;
use super::super::schedule::{Cost, NodeId, Region};
use super::super::stage::PassSpec;
use super::{Emitter, Item, Result, StageState, PASS_LATENCY};
use hdl_gen::isa::{Instr, Op, Queue};

/// An address step as its 16-bit field holds it; addresses wrap at the memory size, a power of two up to 2^16.
pub(super) fn wrap16(v: isize) -> i64 {
    (v as i64 + 0x8000).rem_euclid(0x1_0000) - 0x8000
}

impl Emitter<'_> {
    /// One pass of an item; `number` counts over the stage.
    pub(super) fn pass(
        &mut self,
        item: &Item,
        state: &mut StageState,
        spec: &PassSpec,
        number: usize,
    ) -> Result<NodeId> {
        let acc = item.acc + spec.area * item.accs();
        let swap = self.in_array != Some((state.index, number));
        let shift = match swap {
            true => Some(self.shift(state, spec, number)?),
            false => None,
        };
        let feed = &item.stage.feeds[spec.feed];
        let layout = state.layouts[spec.feed];
        let source = self.source(item, state, spec, number)?;
        let nest = Nest::new(&layout, &feed.geometry, &item.chunk, item.stage.window);
        let addr = source.base + nest.addr;
        let nest =
            Nest { y: nest.y - source.origin[0] as isize, x: nest.x - source.origin[1] as isize, ..nest };
        self.shape(&nest, &layout, feed.pad_code, source.size)?;
        let steps = if spec.planes_in_rows { 1 } else { self.arch.steps(layout.planes) };
        let instr = Instr::new(Op::Pass)
            .with("addr", (addr as i64).rem_euclid(self.arch.plane_words as i64))?
            .with("y", nest.y as i64)?
            .with("x", nest.x as i64)?
            .with("acc", acc as i64)?
            .with("steps", steps as i64 - 1)?
            .with("act_signed", (layout.ty.signed && !spec.planes_in_rows) as i64)?
            .with("wgt_log2", item.unit.mode.wgt_log2 as i64)?
            .with("wgt_signed", spec.wgt_signed as i64)?
            .with("swap", swap as i64)?
            .with("overwrite", spec.overwrite as i64)?
            .with("shift8", spec.shift8 as i64)?;
        let written = Region::span(acc, acc + nest.pixels());
        let mut deps = self.acc.1.before_write(&written);
        for source in &source.regions {
            deps.extend(self.banks.before_read(source));
        }
        let port = Region::span(0, 1);
        if !spec.overwrite {
            deps.extend(self.acc_port.before_write(&port));
        }
        let duration = (nest.pixels() as u64) * steps as u64;
        let node = self.schedule.push(Queue::Pass, instr, deps, Cost { duration, latency: PASS_LATENCY });
        self.acc.1.write(written, node, Queue::Pass);
        for source in source.regions {
            self.banks.read(source, node, Queue::Pass);
        }
        if !spec.overwrite {
            self.acc_port.write(port, node, Queue::Pass);
        }
        if let Some(shift) = shift {
            self.schedule.start_after_end(node, shift);
            self.last_swap = Some(node);
            self.in_array = Some((state.index, number));
        }
        state.counts.0 += 1;
        state.counts.2 += duration;
        Ok(node)
    }

    /// Shifts the weights of a pass into the shadow registers.
    pub(super) fn shift(&mut self, state: &mut StageState, spec: &PassSpec, number: usize) -> Result<NodeId> {
        let g = state.passes[number].group;
        let (wgt_at, tap_at) = self.load_group(state, g)?;
        let info = &state.passes[number];
        let (addr, tap) = (wgt_at + info.weight_at, tap_at + info.tap_at);
        let words = Region::span(addr, addr + spec.weights.len());
        let taps = Region::span(tap, tap + spec.pairs.len());
        let mut deps = self.wgt.1.before_read(&words);
        deps.extend(self.taps.1.before_read(&taps));
        let instr = Instr::new(Op::WgtShift)
            .with("addr", addr as i64)?
            .with("rows", spec.pairs.len() as i64)?
            .with("groups", spec.groups as i64)?
            .with("tap", tap as i64)?;
        let cost = Cost { duration: spec.weights.len() as u64, latency: 0 };
        let node = self.schedule.push(Queue::Wgt, instr, deps, cost);
        if let Some(swap) = self.last_swap {
            self.schedule.start_after_start(node, swap);
        }
        self.wgt.1.read(words, node, Queue::Wgt);
        self.taps.1.read(taps, node, Queue::Wgt);
        Ok(node)
    }

    /// `pass.shape` and the jumps.
    pub(super) fn shape(
        &mut self,
        nest: &Nest,
        layout: &Layout,
        pad_code: i32,
        [h, w]: [usize; 2],
    ) -> Result<()> {
        let mut shape = Instr::new(Op::PassShape)
            .with("h", h as i64)?
            .with("w", w as i64)?
            .with("pad", layout.pad_bits(pad_code))?;
        for (name, l) in ["n0", "n1", "n2", "n3"].into_iter().zip(&nest.loops) {
            shape = shape.with(name, l.turns as i64 - 1)?;
        }
        self.configure(Queue::Pass, shape);
        for (op, names, loops) in [
            (Op::PassJump01, [["da0", "dy0", "dx0"], ["da1", "dy1", "dx1"]], &nest.loops[..2]),
            (Op::PassJump23, [["da2", "dy2", "dx2"], ["da3", "dy3", "dx3"]], &nest.loops[2..]),
        ] {
            let mut jump = Instr::new(op);
            for ([a, y, x], l) in names.into_iter().zip(loops) {
                let once = l.turns == 1;
                let pick = |v: isize| if once { 0 } else { v };
                jump = jump
                    .with(a, wrap16(pick(l.addr)))?
                    .with(y, pick(l.y) as i64)?
                    .with(x, pick(l.x) as i64)?;
            }
            if loops.iter().any(|l| l.turns > 1) {
                self.configure(Queue::Pass, jump);
            }
        }
        Ok(())
    }
}
