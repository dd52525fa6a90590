// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Posts: arithmetic and places of results.

use super::super::layout::{beats_per_bank_word, Layout};
use super::super::nest::Chunk;
use super::super::place::{OUTPUT, SCRATCH};
use super::super::schedule::{Cost, NodeId, Region};
use super::super::stage::{Mode, Stage, Unit};
use super::passes::wrap16;
use super::{Emitter, Item, Result, StageState, POST_CYCLES};
use crate::program::TensorForm;
use hdl_gen::isa::{Instr, Op, Queue, WindowOp};

/// Where results of a stage go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// First plane-word.
    Bank(usize),
    Dram {
        region: i64,
        offset: usize,
        form: TensorForm,
    },
}

/// Address operand, region written, instructions to wait for.
type Place = (i64, Option<Region>, Vec<NodeId>);

/// The posts of an item: each target, and for it the results that are one run in it.
pub(super) fn targets(targets: &[Target], item: &Item) -> Vec<(Target, Chunk)> {
    let chunk = item.chunk;
    let runs: Vec<Chunk> = match chunk.nx == item.stage.grid[1] {
        true => vec![chunk],
        false => (chunk.y..chunk.y + chunk.ny).map(|y| Chunk { y, ny: 1, ..chunk }).collect(),
    };
    targets.iter().flat_map(|t| runs.iter().map(move |r| (*t, *r))).collect()
}

impl Emitter<'_> {
    /// Where the results of a stage go.
    pub(super) fn targets(&self, stage: &Stage) -> Vec<Target> {
        let home = &self.plan.homes[self.plan.root[stage.output]];
        let mut targets = Vec::new();
        if !stage.export_only {
            targets.extend(home.bank.map(Target::Bank));
            let layout = self.layout(stage.output).in_dram();
            let form = TensorForm::Planes(layout);
            targets.extend(home.dram.map(|d| Target::Dram { region: d.region, offset: d.offset, form }));
        }
        targets.extend(home.export.map(|(offset, form)| Target::Dram { region: OUTPUT, offset, form }));
        targets
    }

    /// The post of an item to one target.
    pub(super) fn post(
        &mut self,
        item: &Item,
        state: &mut StageState,
        param: usize,
        target: Target,
        part: Chunk,
    ) -> Result<NodeId> {
        let (unit, chunk) = (item.unit, &item.chunk);
        let (window, accs) = (item.window(), item.accs());
        let first = unit.first_pixel + part.y * item.stage.grid[1] + part.x;
        let results = (first, part.pixels());
        let before = (part.y - chunk.y) * chunk.nx * window;
        let layout = match target {
            Target::Bank(_) => state.out_layout,
            Target::Dram { .. } => state.out_layout.in_dram(),
        };
        self.mode(unit, window, &layout, target)?;
        if unit.mode.add {
            let words = unit.tiles * unit.beats;
            let add = Instr::new(Op::PostAdd)
                .with("acc", (unit.tiles * accs) as i64)?
                .with("param_b", words as i64)?
                .with("param_s", 2 * words as i64)?;
            self.configure(Queue::Post, add);
        }
        let (address, written, mut deps) = match target {
            Target::Bank(bank) => self.bank_target(item, &layout, bank, results)?,
            Target::Dram { region, offset, form } => {
                self.dram_target(item, (region, offset), form, results)?
            }
        };
        deps.extend(self.params.1.before_read(&Region::span(param, param + self.param_words(unit))));
        if unit.mode.table.is_some() {
            deps.extend(self.table.before_read(&Region::span(0, 1)));
        }
        deps.extend(self.acc_port.before_read(&Region::span(0, 1)));
        let instr = Instr::new(Op::Post)
            .with("acc", (item.acc + before) as i64)?
            .with("pixels", part.pixels() as i64 - 1)?
            .with("window", window as i64 - 1)?
            .with("tiles", unit.tiles as i64 - 1)?
            .with("tile_acc", accs as i64)?
            .with("beats", unit.beats as i64 - 1)?
            .with("beat", 0)?
            .with("param", param as i64)?
            .with("out", address)?
            .with("last_lanes", unit.last_lanes as i64 - 1)?;
        let slots = if unit.mode.add { 3 } else { 1 };
        let duration = (part.pixels() * window * unit.tiles * unit.beats * slots) as u64 + POST_CYCLES;
        let node = self.schedule.push(Queue::Post, instr, deps, Cost { duration, latency: 1 });
        match (target, written) {
            (Target::Bank(_), Some(region)) => self.banks.write(region, node, Queue::Post),
            (_, Some(region)) => self.scratch.write(region, node, Queue::Post),
            _ => {}
        }
        state.counts.1 += 1;
        Ok(node)
    }

    /// `post.mode`.
    pub(super) fn mode(&mut self, unit: &Unit, window: usize, layout: &Layout, target: Target) -> Result<()> {
        let m: &Mode = &unit.mode;
        let dram = matches!(target, Target::Dram { .. });
        let int32 = matches!(target, Target::Dram { form: TensorForm::Int32 { .. }, .. });
        let slots = if m.add { 3 } else { window as u32 };
        let beats = (unit.tiles * unit.beats) as u32;
        let gap = self.arch.post_gap(layout.planes.min(16), int32, dram, beats, slots);
        let window_op = if window == 1 { WindowOp::None } else { m.window };
        let instr = Instr::new(Op::PostMode)
            .with("rounding", m.rounding as i64)?
            .with("zp", m.zero_point as i64)?
            .with("lo", m.clamp.0 as i64)?
            .with("hi", m.clamp.1 as i64)?
            .with("raw", m.raw as i64)?
            .with("table", m.table.is_some() as i64)?
            .with("window", window_op as i64)?
            .with("bipolar", m.bipolar as i64)?
            .with("add", m.add as i64)?
            .with("wgt_log2", m.wgt_log2 as i64)?
            .with("shl20", m.shl20 as i64)?
            .with("dram", dram as i64)?
            .with("int32", int32 as i64)?
            .with("planes", layout.planes.min(16) as i64 - 1)?
            .with("slots", layout.slots_code())?
            .with("gap", gap as i64)?;
        self.configure(Queue::Post, instr);
        Ok(())
    }

    /// Address of the first result in the banks, the region written, what must be finished before. `results`: number of
    /// the first result and how many.
    fn bank_target(
        &mut self,
        item: &Item,
        layout: &Layout,
        bank: usize,
        (first, pixels): (usize, usize),
    ) -> Result<Place> {
        let pixel = layout.pixel();
        let out = Instr::new(Op::PostOut)
            .with("nx", 0)?
            .with("dx", wrap16(pixel as isize))?
            .with("dy", wrap16(pixel as isize))?
            .with("db", layout.slots as i64)?;
        self.configure(Queue::Post, out);
        let address = bank + first * pixel + item.unit.block * layout.slots as usize;
        let rows = (first * pixel, (first + pixels) * pixel);
        let region = Region::part(bank, item.stage.output, rows, item.unit.block_range());
        let deps = self.banks.before_write(&region);
        Ok((address as i64, Some(region), deps))
    }

    /// The same for DRAM, where words are written in order.
    fn dram_target(
        &mut self,
        item: &Item,
        (region, offset): (i64, usize),
        form: TensorForm,
        (first, pixels): (usize, usize),
    ) -> Result<Place> {
        let unit = item.unit;
        // 64-bit words: of a pixel, of this unit in a pixel, before this unit in a pixel
        let (pitch, words, before) = match form {
            TensorForm::Int32 { pitch, .. } => {
                let lanes = self.arch.requant_lanes as usize;
                (pitch / 2, unit.tiles * unit.beats * lanes / 2, unit.block * self.arch.lanes as usize / 2)
            }
            TensorForm::Planes(l) => {
                let block = l.slots as usize / 4 * beats_per_bank_word(l.lanes);
                (l.blocks() * block, unit.blocks * block, unit.block * block)
            }
        };
        let (row, pitch_words) = if words == pitch { (words * pixels, 0) } else { (words, pitch) };
        let instr = Instr::new(Op::PostDram)
            .with("offset", (offset + (first * pitch + before) * 8) as i64)?
            .with("region", region)?
            .with("words", row as i64)?
            .with("pitch", pitch_words as i64)?;
        // the position moves with every post
        self.config.remove(&Op::PostDram);
        self.configure(Queue::Post, instr);
        if region != SCRATCH {
            return Ok((0, None, Vec::new()));
        }
        let pixel = self.layout(item.stage.output).in_dram().pixel();
        let rows = (first * pixel, (first + pixels) * pixel);
        let written = self.scratch_region(item.stage.output, rows, unit.block_range());
        Ok((0, Some(written), self.scratch.before_write(&written)))
    }
}
