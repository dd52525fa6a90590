// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Weight shifts and passes: loop nests of any shape over the banks.

use super::*;

impl Generator<'_> {
    pub(super) fn compute(&mut self) -> Vec<Task> {
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
}

struct Pass {
    task: Task,
    shift: Option<Task>,
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

/// Number of beats, from the first on, whose channels stand in the first `groups` groups.
fn defined_beats(arch: &Arch, wgt_log2: u32, groups: u32) -> u32 {
    let lanes = arch.requant_lanes;
    let inside = |beat: &u32| (0..lanes).all(|l| arch.acc_slot(wgt_log2, beat * lanes + l).group < groups);
    (0..arch.beats_per_pass(wgt_log2)).take_while(inside).count() as u32
}
