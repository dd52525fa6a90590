// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Post-processing to the banks and to DRAM.

use super::*;

const SLOTS: [u32; 6] = [1, 2, 4, 8, 12, 16];

impl Generator<'_> {
    pub(super) fn post(&mut self, plan: &Plan) -> Task {
        loop {
            if let Some(task) = self.try_post(plan) {
                return task;
            }
        }
    }

    /// `None` when the drawn combination has no legal pace.
    fn try_post(&mut self, plan: &Plan) -> Option<Task> {
        let arch = self.arch;
        let rng = &mut self.rng;
        let add = arch.has_add && rng.percent(25);
        let window = if add { 1 } else { rng.pick(&[1, 1, 2, 4, 3]).min(plan.pixels) };
        let pixels = 1 + rng.below(plan.pixels / window);
        let beat = rng.below(plan.beats);
        let beats = 1 + rng.below(plan.beats - beat);
        let tiles = 1 + rng.below(plan.tiles);
        let pixel_beats = tiles * beats;
        let dram = rng.percent(50);
        let int32 = dram && rng.percent(40);
        let planes = if rng.percent(50) { 8 } else { 1 + rng.below(16) };
        let issues = if add { 3 } else { window };
        let gap = arch.post_gap(planes, int32, dram, pixel_beats, issues) + rng.pick(&[0, 0, 0, 1, 3]);
        if gap > 15 || pixel_beats > arch.param_depth / 4 || pixels * pixel_beats * issues > 700 {
            return None;
        }
        let raw = rng.percent(20);
        let bipolar = arch.has_sum_column && rng.percent(25);
        let slots = (0..6).filter(|i| SLOTS[*i as usize] >= planes).min()? as i64;
        let (a, b) = (rng.range(-40000, 40000), rng.range(-200, 200));
        let (lo, hi) = if rng.percent(70) { (-128, 127) } else { (a.min(b), a.max(b)) };
        let mode = instr(
            Op::PostMode,
            &[
                ("rounding", rng.range(0, 7)),
                ("zp", if rng.percent(80) { rng.range(-128, 127) } else { rng.range(-65536, 65535) }),
                ("lo", lo),
                ("hi", hi),
                ("raw", raw as i64),
                ("table", (arch.has_table && rng.percent(25)) as i64),
                (
                    "window",
                    if window == 1 && rng.percent(60) {
                        0
                    } else {
                        rng.pick(if raw { &[0, 2] } else { &[0, 1, 2] })
                    },
                ),
                ("bipolar", bipolar as i64),
                ("add", add as i64),
                ("wgt_log2", plan.wgt_log2 as i64),
                ("shl20", (!bipolar && rng.percent(20)) as i64),
                ("dram", dram as i64),
                ("int32", int32 as i64),
                ("planes", planes as i64 - 1),
                ("slots", slots),
                ("gap", gap as i64),
            ],
        );
        let mode = if add { mode.with("window", 0).expect("fits") } else { mode };
        let param = rng.below(arch.param_depth - pixel_beats + 1);
        let in_block = ((pixel_beats - 1) % arch.block_beats() + 1) * arch.requant_lanes;
        let blocks = pixel_beats.div_ceil(arch.block_beats());
        let align = alignment(planes);
        let out = rng.below(arch.plane_words / align) * align;
        let main = instr(
            Op::Post,
            &[
                ("acc", plan.acc as i64),
                ("pixels", pixels as i64 - 1),
                ("window", window as i64 - 1),
                ("tiles", tiles as i64 - 1),
                ("tile_acc", plan.tile_acc as i64),
                ("beats", beats as i64 - 1),
                ("beat", beat as i64),
                ("param", param as i64),
                ("out", out as i64),
                ("last_lanes", rng.below(in_block) as i64),
            ],
        );
        let mut task = Task::new(main);
        task.config.push(mode);
        task.reads.add(Space::AccPort, [0]);
        task.reads.add(Space::Table, [0]);
        task.reads.add(Space::Param, param..param + pixel_beats);
        // Operand B of an addition stays among the accumulators and beats of the plan.
        task.reads.add(Space::Acc, plan.acc..plan.acc + (plan.tiles - 1) * plan.tile_acc + plan.pixels);
        if add {
            let more = rng.below(plan.beats - beat - beats + 1);
            let acc = rng.below(plan.pixels - pixels + 1);
            let room = arch.param_depth - param - pixel_beats + 1;
            let (param_b, param_s) = (rng.below(room), rng.below(room));
            task.config.push(instr(
                Op::PostAdd,
                &[
                    ("beat", more as i64),
                    ("acc", acc as i64),
                    ("param_b", param_b as i64),
                    ("param_s", param_s as i64),
                ],
            ));
            for offset in [param_b, param_s] {
                task.reads.add(Space::Param, param + offset..param + offset + pixel_beats);
            }
        }
        if dram {
            let words = match int32 {
                true => pixels * pixel_beats * arch.requant_lanes / 2,
                false => pixels * blocks * planes.div_ceil(4) * arch.bank_word_beats(),
            };
            let (config, written) = self.dram(words);
            task.config.push(config);
            for (region, range) in written {
                task.writes.add(Space::Region(region), range);
            }
        } else {
            let layout = Layout { out, pixels, blocks, planes };
            let (config, words) = self.bank_layout(&layout, align);
            task.config.push(config);
            task.writes.add(Space::Bank, words);
        }
        self.rng.shuffle(&mut task.config);
        Some(task)
    }

    /// A `post.dram` with room for `words` 64-bit words, often across a 4 KiB boundary.
    fn dram(&mut self, words: u32) -> (Instr, Vec<(usize, std::ops::Range<u32>)>) {
        let per_row = 1 + self.rng.below(words.min(80));
        let per_row = if self.rng.percent(40) { words } else { per_row };
        let pitch = per_row + self.rng.pick(&[0, 0, 1, 5]);
        let rows = words.div_ceil(per_row);
        let span = (rows - 1) * pitch + per_row;
        let region = self.rng.pick(&[2, 2, 3]);
        let size = REGION_BYTES[region] as u32 / 8;
        let offset = if span >= size { 0 } else { self.rng.below(size - span) };
        let offset = if self.rng.percent(25) { (offset / 512 * 512 + 511).min(size) } else { offset };
        let config = instr(
            Op::PostDram,
            &[
                ("offset", offset as i64 * 8),
                ("region", region as i64),
                ("words", per_row as i64),
                ("pitch", pitch as i64),
            ],
        );
        (config, (0..rows).map(|r| (region, offset + r * pitch..offset + r * pitch + per_row)).collect())
    }

    /// A `post.out` and the bank words that it makes the results go to.
    fn bank_layout(&mut self, layout: &Layout, align: u32) -> (Instr, Vec<u32>) {
        let a = align as i64;
        let rng = &mut self.rng;
        let nx = 1 + rng.below(layout.pixels) as i64;
        let (dx, dy) = (rng.range(-8, 8) * a, rng.range(-30, 30) * a);
        let db = rng.range(-12, 12) * a;
        let mask = self.arch.plane_words as i64 - 1;
        let (mut pixel, mut words) = (layout.out as i64, vec![]);
        for i in 0..layout.pixels as i64 {
            for block in 0..layout.blocks as i64 {
                words.extend(
                    (0..layout.planes as i64).map(|p| (((pixel + block * db + p) & mask) >> 2) as u32),
                );
            }
            pixel += if (i + 1) % nx == 0 { dy } else { dx };
        }
        (instr(Op::PostOut, &[("nx", nx - 1), ("dx", dx), ("dy", dy), ("db", db)]), words)
    }
}

struct Layout {
    out: u32,
    pixels: u32,
    blocks: u32,
    planes: u32,
}
