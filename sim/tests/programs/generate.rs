// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random legal programs: loads to all destinations, passes of all widths and modes, post-processing to banks and DRAM.

use crate::rng::Rng;
use crate::task::{scatter, Case, Group, Space, Task};
use hdl_gen::isa::{Instr, LoadDst, Op};
use hdl_gen::Arch;

/// Bytes of the regions 1 (input), 2 (output), 3 (scratch); region 0 grows with what the loads need.
const REGION_BYTES: [usize; 4] = [0, 20_000, 24_000, 12_008];
const SLOTS: [u32; 6] = [1, 2, 4, 8, 12, 16];

/// A case of `groups` random groups behind the loads that fill all buffers.
pub fn case(arch: &Arch, seed: u64, groups: usize) -> Case {
    let mut g = Generator {
        arch,
        rng: Rng::new(seed),
        constants: vec![],
        taps: vec![],
        active: (0, vec![]),
        next_tap: 0,
    };
    let mut list = vec![g.prologue()];
    for _ in 0..groups {
        let group = g.group();
        list.push(group);
    }
    for task in list.iter_mut().flat_map(|g| &mut g.tasks) {
        scatter(task, &mut g.rng);
    }
    let regions = std::array::from_fn(|i| match i {
        0 => std::mem::take(&mut g.constants),
        _ => g.rng.bytes(REGION_BYTES[i]),
    });
    Case { seed, groups: list, regions, serialized: g.rng.percent(25) }
}

#[derive(Clone, Copy)]
struct Tap {
    addr: i16,
    dy: i16,
    dx: i16,
}

struct Generator<'a> {
    arch: &'a Arch,
    rng: Rng,
    constants: Vec<u8>,
    /// What the tap table holds.
    taps: Vec<Tap>,
    /// Taps that the last pass took, and the alignment of addresses that they are fit for.
    active: (u32, Vec<Tap>),
    /// First entry of the table's upper half that this group has not loaded yet.
    next_tap: u32,
}

/// Makes an instruction; the generator keeps to the ranges of the fields.
fn instr(op: Op, fields: &[(&str, i64)]) -> Instr {
    fields
        .iter()
        .fold(Instr::new(op), |i, (name, value)| i.with(name, *value).unwrap_or_else(|e| panic!("{e}")))
}

/// Alignment of the plane-word addresses of blocks with `planes` planes.
fn alignment(planes: u32) -> u32 {
    planes.next_power_of_two().min(4)
}

impl Generator<'_> {
    /// Loads every buffer completely, in random order.
    fn prologue(&mut self) -> Group {
        let mut order = LoadDst::ALL;
        self.rng.shuffle(&mut order);
        let tasks = order
            .into_iter()
            .map(|dst| match dst {
                LoadDst::Act => self.load_act_whole(),
                _ => self.load_constants(dst, 0, self.arch.load_depth(dst)),
            })
            .collect();
        Group { name: "fill", tasks, droppable: false }
    }

    fn group(&mut self) -> Group {
        let (name, tasks) = match self.rng.below(100) {
            0..=11 => ("load act", vec![self.load_act()]),
            12..=23 => ("load constants", vec![self.reload()]),
            24..=31 => ("nop", vec![self.nop()]),
            _ => ("compute", self.compute()),
        };
        Group { name, tasks, droppable: true }
    }

    // ---- loads

    fn load_act_whole(&mut self) -> Task {
        let bytes = self.arch.bank_depth as usize * self.arch.load_beats(LoadDst::Act) as usize * 8;
        let offset = self.constants.len() as i64;
        self.constants.extend(self.rng.bytes(bytes));
        self.load_act_at(0, offset, 0, self.arch.bank_depth, 1, 0)
    }

    /// Some rows from anywhere, also from what `post` writes and from behind the end of a region.
    fn load_act(&mut self) -> Task {
        let beats = self.arch.load_beats(LoadDst::Act);
        let words = self.rng.range(1, 40.min(self.arch.bank_depth as i64 / 2)) as u32;
        let rows = self.rng.range(1, 6.min((self.arch.bank_depth / words) as i64)) as u32;
        let base = self.rng.below(self.arch.bank_depth - words * rows + 1);
        let pitch = (words * beats) as i64 + self.rng.pick(&[0, 0, 1, 7]);
        let region = self.rng.range(1, 3) as usize;
        let offset = self.rng.range(0, REGION_BYTES[region] as i64 / 8) * 8;
        self.load_act_at(region, offset, base, words, rows, pitch)
    }

    fn load_act_at(
        &mut self,
        region: usize,
        offset: i64,
        base: u32,
        words: u32,
        rows: u32,
        pitch: i64,
    ) -> Task {
        let mut task = Task::new(load(LoadDst::Act, region, offset, base, words, rows, pitch));
        task.writes.add(Space::Bank, base..base + words * rows);
        let length = words * self.arch.load_beats(LoadDst::Act);
        for row in 0..rows {
            let first = offset as u32 / 8 + row * pitch as u32;
            task.reads.add(Space::Region(region), first..first + length);
        }
        task
    }

    /// New contents for a part of a buffer. Entries of the tap table that others count on stay.
    fn reload(&mut self) -> Task {
        let dst = self.rng.pick(&[LoadDst::Wgt, LoadDst::Param, LoadDst::Table]);
        let depth = self.arch.load_depth(dst);
        let words = 1 + self.rng.below(depth.min(48));
        let base = self.rng.below(depth - words + 1);
        self.load_constants(dst, base, words)
    }

    /// Random contents for buffer words `base..base + words` from region 0.
    fn load_constants(&mut self, dst: LoadDst, base: u32, words: u32) -> Task {
        let contents: Vec<Vec<u64>> = (base..base + words).map(|w| self.buffer_word(dst, w)).collect();
        let offset = self.constants.len() as i64;
        let bytes = self.block(dst, &contents);
        let length = bytes.len() as u32 / 8;
        self.constants.extend(bytes);
        let mut task = Task::new(load(dst, 0, offset, base, words, 1, 0));
        task.reads.add(Space::Region(0), offset as u32 / 8..offset as u32 / 8 + length);
        let range = base..base + words;
        let lanes = self.arch.requant_lanes;
        match dst {
            LoadDst::Act => unreachable!("activations have loads of their own"),
            LoadDst::Wgt => task.writes.add(Space::Wgt, range),
            LoadDst::Param => task.writes.add(Space::Param, base / lanes..(base + words).div_ceil(lanes)),
            LoadDst::Tap => task.writes.add(Space::Tap, range),
            LoadDst::Table => task.writes.add(Space::Table, [0]),
        }
        task
    }

    /// Memory image of buffer words: chunk c of a word in port c % ports, port after port.
    fn block(&self, dst: LoadDst, contents: &[Vec<u64>]) -> Vec<u8> {
        let (ports, beats) = (self.arch.load_ports(dst) as usize, self.arch.load_beats(dst) as usize);
        let mut words = vec![0u64; ports * beats * contents.len()];
        for (k, chunks) in contents.iter().enumerate() {
            for (c, chunk) in chunks.iter().enumerate() {
                words[(c % ports) * beats * contents.len() + k * beats + c / ports] = *chunk;
            }
        }
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// One random buffer word in 64-bit chunks.
    fn buffer_word(&mut self, dst: LoadDst, index: u32) -> Vec<u64> {
        match dst {
            LoadDst::Param => self.parameters(),
            LoadDst::Tap => {
                let half = self.arch.tap_depth / 2;
                // The first quarter suits every pass, the second those of one plane.
                let align = if index < half / 2 { 4 } else { self.arch.brick_bits };
                let tap = self.random_tap(align);
                vec![self.set_tap(index, tap)]
            }
            _ => {
                let bits = self.arch.load_word_bits(dst);
                let mut chunks: Vec<u64> = (0..bits.div_ceil(64)).map(|_| self.rng.next()).collect();
                if !bits.is_multiple_of(64) {
                    *chunks.last_mut().expect("at least one chunk") &= (1 << (bits % 64)) - 1;
                }
                chunks
            }
        }
    }

    fn random_tap(&mut self, align: u32) -> Tap {
        let far = self.rng.percent(15);
        let reach = if far { 511 } else { 3 };
        let span = self.arch.plane_words as i64 / if far { 1 } else { 64 } / align as i64;
        Tap {
            addr: (self.rng.range(-span, span) * align as i64).clamp(-32768, 32764) as i16,
            dy: self.rng.range(-reach, reach) as i16,
            dx: self.rng.range(-reach, reach) as i16,
        }
    }

    /// Notes a tap and encodes it.
    fn set_tap(&mut self, index: u32, tap: Tap) -> u64 {
        if self.taps.len() <= index as usize {
            self.taps.resize(index as usize + 1, tap);
        }
        self.taps[index as usize] = tap;
        tap.addr as u16 as u64 | (tap.dy as u64 & 0x3ff) << 16 | (tap.dx as u64 & 0x3ff) << 26
    }

    /// Requantization of one channel: mostly as networks have it, sometimes extreme.
    fn parameters(&mut self) -> Vec<u64> {
        let bias = match self.rng.below(8) {
            0 => self.rng.pick(&[i32::MIN, i32::MAX, 0]),
            1 => self.rng.next() as i32,
            _ => self.rng.range(-4000, 4000) as i32,
        };
        let multiplier = match self.rng.below(8) {
            0 => self.rng.pick(&[i32::MIN, i32::MAX, 0, 1, -1]),
            1 => self.rng.next() as i32,
            _ => self.rng.range(1 << 30, (1 << 31) - 1) as i32,
        };
        let addend = match self.rng.below(4) {
            0 => self.rng.next() as u32,
            1 => u32::MAX,
            _ => 0,
        };
        let shift = match self.rng.below(6) {
            0 => 0,
            1 => self.rng.below(64),
            _ => self.rng.below(12),
        };
        vec![bias as u32 as u64 | (multiplier as u32 as u64) << 32, addend as u64 | (shift as u64) << 32]
    }

    fn nop(&mut self) -> Task {
        let op = self.rng.pick(&[Op::LoadNop, Op::WgtNop, Op::PassNop, Op::PostNop]);
        let mut task = Task::new(Instr::new(op));
        task.after = self.rng.below(16) as u8 & !task.queue().bit();
        task
    }

    // ---- shift, passes, post

    fn compute(&mut self) -> Vec<Task> {
        let plan = self.plan();
        let (mut shifts, mut passes, mut loads) = (vec![], vec![], vec![]);
        self.next_tap = self.arch.tap_depth / 2 + self.rng.below(self.arch.tap_depth / 4);
        for tile in 0..plan.tiles {
            let count = self.rng.pick(&[1, 1, 1, 2, 3]);
            let high = if plan.wgt_log2 == 3 && count > 1 && self.rng.percent(50) {
                self.rng.range(1, count - 1)
            } else {
                0
            };
            for turn in 0..count {
                let swap = (tile == 0 && turn == 0) || self.rng.percent(60);
                let pass = self.pass(&plan, tile, turn > 0, turn == high && turn > 0, swap, &mut loads);
                if let Some(shift) = pass.shift {
                    shifts.push((passes.len(), shift));
                }
                passes.push(pass.task);
            }
        }
        let mut tasks = loads;
        let ahead = self.rng.percent(40) && shifts.len() <= 3;
        let mut shifts = shifts.into_iter().peekable();
        for (i, pass) in passes.into_iter().enumerate() {
            while let Some((_, shift)) = shifts.next_if(|(at, _)| *at == i || ahead) {
                tasks.push(shift);
            }
            tasks.push(pass);
        }
        for _ in 0..self.rng.pick(&[1, 1, 2]) {
            tasks.push(self.post(&plan));
        }
        if self.rng.percent(50) {
            tasks.push(Task::new(instr(Op::PostMark, &[("id", self.rng.below(1 << 16) as i64)])));
        }
        tasks
    }

    fn plan(&mut self) -> Plan {
        let wgt_log2 = self.rng.below(4);
        let mut groups = 1 + self.rng.below(self.arch.groups);
        if self.rng.percent(40) || defined_beats(self.arch, wgt_log2, groups) == 0 {
            groups = self.arch.groups;
        }
        let tiles = self.rng.pick(&[1, 1, 1, 2, 3]).min(self.arch.acc_depth / 4);
        let most = self.arch.acc_depth / tiles;
        let limit = if self.rng.percent(15) { most } else { most.min(24) };
        let shape = self.shape(limit);
        let pixels: u32 = shape.iter().product();
        let tile_acc = self.rng.range(pixels as i64, most as i64) as u32;
        let acc = self.rng.below(self.arch.acc_depth - (tiles - 1) * tile_acc - pixels + 1);
        let beats = defined_beats(self.arch, wgt_log2, groups);
        Plan { wgt_log2, groups, tiles, shape, pixels, acc, tile_acc, beats }
    }

    /// Turns of the four loops, at most `most` together.
    fn shape(&mut self, most: u32) -> [u32; 4] {
        let mut left = most;
        let mut shape = std::array::from_fn(|_| {
            let n = 1 + self.rng.below(left.min(9));
            left /= n;
            n
        });
        if self.rng.percent(15) {
            shape = [most, 1, 1, 1];
        }
        self.rng.shuffle(&mut shape);
        shape
    }

    fn pass(
        &mut self,
        plan: &Plan,
        tile: u32,
        adds: bool,
        shift8: bool,
        swap: bool,
        loads: &mut Vec<Task>,
    ) -> Pass {
        let steps = match self.rng.below(3) {
            0 => 1,
            1 => 8 / self.arch.brick_bits,
            _ => 1 + self.rng.below(16 / self.arch.brick_bits),
        };
        let planes = steps * self.arch.brick_bits;
        let align = alignment(planes);
        // A pass without swap keeps taps that may be too fine for it.
        let swap = swap || align > self.active.0;
        let shift = swap.then(|| self.shift(plan, align, loads));
        let step = |rng: &mut Rng| rng.range(-24, 24) * align as i64;
        let near = |rng: &mut Rng| if rng.percent(10) { rng.range(-2048, 2047) } else { rng.range(-3, 3) };
        let jump =
            |rng: &mut Rng, far: bool| if far { rng.range(-32768 / 4, 32767 / 4) * 4 } else { step(rng) };
        let rng = &mut self.rng;
        let bound = |rng: &mut Rng| if rng.percent(20) { rng.range(0, 4095) } else { rng.range(1, 9) };
        let mut jumps = [[0i64; 3]; 4];
        for j in &mut jumps {
            let far = rng.percent(8);
            *j = [jump(rng, far), near(rng), near(rng)];
        }
        let geometry = Geometry {
            shape: plan.shape,
            h: bound(rng),
            w: bound(rng),
            jumps,
            addr: rng.below(self.arch.plane_words / align) as i64 * align as i64,
            y: near(rng),
            x: near(rng),
            planes,
        };
        let (shape, jumps) = (geometry.shape, geometry.jumps);
        let mut config = vec![
            instr(
                Op::PassShape,
                &[
                    ("n0", shape[0] as i64 - 1),
                    ("n1", shape[1] as i64 - 1),
                    ("n2", shape[2] as i64 - 1),
                    ("n3", shape[3] as i64 - 1),
                    ("h", geometry.h),
                    ("w", geometry.w),
                    ("pad", rng.below(1 << 16) as i64),
                ],
            ),
            instr(
                Op::PassJump01,
                &[
                    ("da0", jumps[0][0]),
                    ("dy0", jumps[0][1]),
                    ("dx0", jumps[0][2]),
                    ("da1", jumps[1][0]),
                    ("dy1", jumps[1][1]),
                    ("dx1", jumps[1][2]),
                ],
            ),
            instr(
                Op::PassJump23,
                &[
                    ("da2", jumps[2][0]),
                    ("dy2", jumps[2][1]),
                    ("dx2", jumps[2][2]),
                    ("da3", jumps[3][0]),
                    ("dy3", jumps[3][1]),
                    ("dx3", jumps[3][2]),
                ],
            ),
        ];
        rng.shuffle(&mut config);
        let acc = plan.acc + tile * plan.tile_acc;
        let main = instr(
            Op::Pass,
            &[
                ("addr", geometry.addr),
                ("y", geometry.y),
                ("x", geometry.x),
                ("acc", acc as i64),
                ("steps", steps as i64 - 1),
                ("act_signed", rng.bit()),
                ("wgt_log2", plan.wgt_log2 as i64),
                ("wgt_signed", rng.bit()),
                ("swap", swap as i64),
                ("overwrite", !adds as i64),
                ("shift8", shift8 as i64),
            ],
        );
        let mut task = Task::new(main);
        task.config = config;
        task.writes.add(Space::Acc, acc..acc + plan.pixels);
        if adds {
            task.writes.add(Space::AccPort, [0]);
        }
        for tap in &self.active.1 {
            task.reads.add(Space::Bank, geometry.words(self.arch, *tap));
        }
        Pass { task, shift }
    }

    /// A `wgt.shift` with taps for addresses of `align`; sometimes the taps are loaded just before.
    fn shift(&mut self, plan: &Plan, align: u32, loads: &mut Vec<Task>) -> Task {
        let rows = 1 + self.rng.below(self.arch.rows);
        let quarter = self.arch.tap_depth / 4;
        let fine = align == self.arch.brick_bits;
        let tap = if self.rng.percent(30) && self.next_tap + rows <= self.arch.tap_depth {
            let first = self.next_tap;
            self.next_tap += rows;
            loads.push(self.load_taps(first, rows));
            first
        } else {
            (if fine { quarter } else { 0 }) + self.rng.below(quarter - rows + 1)
        };
        let words = rows * plan.groups;
        // Sometimes around the end of the buffer.
        let addr = self.rng.below(self.arch.wgt_depth);
        let mut task = Task::new(instr(
            Op::WgtShift,
            &[
                ("addr", addr as i64),
                ("rows", rows as i64),
                ("groups", plan.groups as i64),
                ("tap", tap as i64),
            ],
        ));
        task.reads.add(Space::Wgt, (addr..addr + words).map(|w| w % self.arch.wgt_depth));
        task.reads.add(Space::Tap, tap..tap + rows);
        let taps = self.taps[tap as usize..(tap + rows) as usize].to_vec();
        self.active = (if fine && tap < 2 * quarter { self.arch.brick_bits } else { 4 }, taps);
        task
    }

    /// Taps in the upper half of the table; 4-aligned, they suit every pass.
    fn load_taps(&mut self, first: u32, rows: u32) -> Task {
        let contents: Vec<Vec<u64>> = (0..rows)
            .map(|r| {
                let tap = self.random_tap(4);
                vec![self.set_tap(first + r, tap)]
            })
            .collect();
        let offset = self.constants.len() as i64;
        let bytes = self.block(LoadDst::Tap, &contents);
        let mut task = Task::new(load(LoadDst::Tap, 0, offset, first, rows, 1, 0));
        task.reads.add(Space::Region(0), offset as u32 / 8..(offset as u32 + bytes.len() as u32) / 8);
        task.writes.add(Space::Tap, first..first + rows);
        self.constants.extend(bytes);
        task
    }

    fn post(&mut self, plan: &Plan) -> Task {
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
                ("rounding", rng.range(0, 3)),
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

/// What the passes of one compute group have in common.
struct Plan {
    wgt_log2: u32,
    groups: u32,
    tiles: u32,
    shape: [u32; 4],
    pixels: u32,
    acc: u32,
    tile_acc: u32,
    /// Beats from 0 on whose channels all lie in the groups in use.
    beats: u32,
}

struct Pass {
    task: Task,
    shift: Option<Task>,
}

struct Layout {
    out: u32,
    pixels: u32,
    blocks: u32,
    planes: u32,
}

struct Geometry {
    shape: [u32; 4],
    h: i64,
    w: i64,
    /// Per loop: address, y, x.
    jumps: [[i64; 3]; 4],
    addr: i64,
    y: i64,
    x: i64,
    planes: u32,
}

impl Geometry {
    /// Bank words that the row of `tap` reads.
    fn words(&self, arch: &Arch, tap: Tap) -> Vec<u32> {
        let mask = arch.plane_words as i64 - 1;
        let wrap = |v: i64| (v << 52) >> 52; // 12 bits
        let (mut addr, mut y, mut x) = (self.addr, self.y, self.x);
        let (mut turn, mut words) = ([0; 4], vec![]);
        loop {
            let (ty, tx) = (y + tap.dy as i64, x + tap.dx as i64);
            if (0..self.h).contains(&ty) && (0..self.w).contains(&tx) {
                let first = addr + tap.addr as i64;
                words.extend((0..self.planes as i64).map(|p| (((first + p) & mask) >> 2) as u32));
            }
            let Some(k) = (0..4).find(|k| turn[*k] + 1 < self.shape[*k]) else {
                return words;
            };
            turn[..k].fill(0);
            turn[k] += 1;
            addr += self.jumps[k][0];
            y = wrap(y + self.jumps[k][1]);
            x = wrap(x + self.jumps[k][2]);
        }
    }
}

fn load(dst: LoadDst, region: usize, offset: i64, base: u32, words: u32, rows: u32, pitch: i64) -> Instr {
    instr(
        Op::Load,
        &[
            ("offset", offset),
            ("region", region as i64),
            ("dst", dst as i64),
            ("base", base as i64),
            ("words", words as i64),
            ("rows", rows as i64),
            ("pitch", pitch),
        ],
    )
}

/// Number of beats, from the first on, whose channels stand in the first `groups` groups.
fn defined_beats(arch: &Arch, wgt_log2: u32, groups: u32) -> u32 {
    let lanes = arch.requant_lanes;
    let inside = |beat: &u32| (0..lanes).all(|l| arch.acc_slot(wgt_log2, beat * lanes + l).group < groups);
    (0..arch.beats_per_pass(wgt_log2)).take_while(inside).count() as u32
}
