// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Executes programs by the instructions' definitions alone: whole integers instead of bit-planes, and the queues served
//! in a random order that tokens permit. A missing token shows as a wrong result, a missing signal as a deadlock.

use brickwork_compiler::program::Program;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use hdl_gen::numfmt::{round_scaled, wrap, ChannelParams, Rounding};
use hdl_gen::Arch;

use super::random_graphs::Rng;

#[derive(Clone, Default)]
struct Weights {
    rows: usize,
    words: Vec<Vec<Vec<u64>>>,
    taps: Vec<(i64, i64, i64)>,
}

pub struct Executor<'a> {
    arch: &'a Arch,
    regions: [Vec<u8>; 4],
    banks: Vec<u64>,
    wgt: Vec<Vec<u64>>,
    taps: Vec<(i64, i64, i64)>,
    params: Vec<ChannelParams>,
    table: Vec<i16>,
    /// `[group][pixel][segment of 18 bits]`.
    acc: Vec<Vec<[i64; 8]>>,
    sum: Vec<i64>,
    shadow: Option<Weights>,
    array: Weights,
    config: std::collections::BTreeMap<Op, Instr>,
    /// Region and byte position of the next DRAM word, and where its row ends.
    dram: (usize, usize, usize, usize),
}

fn word(bytes: &[u8], at: usize) -> u64 {
    (0..8).map(|i| (bytes.get(at + i).copied().unwrap_or(0) as u64) << (8 * i)).sum()
}

fn field(words: &[u64], bit: usize, width: usize) -> u64 {
    (0..width).map(|i| (words.get((bit + i) / 64).copied().unwrap_or(0) >> ((bit + i) % 64) & 1) << i).sum()
}

/// Runs a program; region 2 at the end. Errors: deadlock, or a rule broken.
pub fn execute(arch: &Arch, program: &Program, inputs: &[Vec<i32>], seed: u64) -> Result<Vec<u8>, String> {
    let input = program.pack_input(inputs).map_err(|e| e.to_string())?;
    let output = vec![0xa5; program.info.output_bytes];
    let scratch = vec![0x5a; program.info.scratch_bytes];
    let mut rng = Rng::new(seed);
    let garbage = |n: u32, rng: &mut Rng| -> Vec<u64> { (0..n).map(|_| rng.next()).collect() };
    let mut e = Executor {
        arch,
        regions: [program.constants.clone(), input, output, scratch],
        banks: garbage(arch.plane_words, &mut rng).iter().map(|w| w & ((1u64 << arch.lanes) - 1)).collect(),
        wgt: (0..arch.wgt_depth).map(|_| garbage(arch.wgt_word_bits.div_ceil(64), &mut rng)).collect(),
        taps: vec![(0, 0, 0); arch.tap_depth as usize],
        params: vec![
            ChannelParams { bias: 0, multiplier: 0, addend: 0, shift: 0 };
            (arch.param_depth * arch.requant_lanes) as usize
        ],
        table: vec![0; 256],
        acc: vec![vec![[77; 8]; arch.acc_depth as usize]; arch.groups as usize],
        sum: vec![99; arch.acc_depth as usize],
        shadow: None,
        array: Weights::default(),
        config: Default::default(),
        dram: (0, 0, 0, 0),
    };
    e.run(&program.instrs, &mut rng)?;
    Ok(std::mem::take(&mut e.regions[2]))
}

impl Executor<'_> {
    fn run(&mut self, program: &[Instr], rng: &mut Rng) -> Result<(), String> {
        let mut queues: [std::collections::VecDeque<Instr>; 4] = Default::default();
        let mut tokens = [[0u32; 4]; 4];
        let mut pc = 0;
        if program.first().map(|i| i.get("hash") as u64) != Some(self.arch.hash) {
            return Err("no begin with the right hash".into());
        }
        // which queues run ahead in this run
        let mut order = [0, 1, 2, 3];
        (0..4).for_each(|i| order.swap(i, rng.size(i, 3)));
        let strict = rng.range(0, 8);
        loop {
            while let Some(i) = program.get(pc) {
                let op = i.op().ok_or("bad opcode")?;
                let Some(q) = op.def().queue else {
                    pc += 1;
                    continue;
                };
                if queues[q.index()].len() >= self.arch.queue_depth as usize {
                    break;
                }
                queues[q.index()].push_back(*i);
                pc += 1;
            }
            let ready: Vec<usize> = (0..4)
                .filter(|q| queues[*q].front().is_some_and(|i| self.can_start(*i, *q, &tokens)))
                .collect();
            if ready.is_empty() {
                if queues.iter().all(|q| q.is_empty()) {
                    return Ok(());
                }
                return Err(format!("deadlock at {:?}", queues.map(|q| q.front().copied())));
            }
            let ahead = order.into_iter().find(|q| ready.contains(q)).ok_or("none")?;
            let q = if rng.range(0, 8) < strict { ahead } else { rng.pick(&ready) };
            let instr = queues[q].pop_front().ok_or("empty")?;
            for s in Queue::ALL {
                tokens[s.index()][q] -= (instr.wait_mask() & s.bit() != 0) as u32;
            }
            self.execute(instr)?;
            for d in Queue::ALL {
                let t = &mut tokens[q][d.index()];
                *t += (instr.signal_mask() & d.bit() != 0) as u32;
                if *t > 255 {
                    return Err("token overflow".into());
                }
            }
        }
    }

    fn can_start(&self, i: Instr, q: usize, tokens: &[[u32; 4]; 4]) -> bool {
        let held = Queue::ALL.iter().all(|s| i.wait_mask() & s.bit() == 0 || tokens[s.index()][q] > 0);
        held && match i.op() {
            Some(Op::WgtShift) => self.shadow.is_none(),
            Some(Op::Pass) => !i.flag("swap") || self.shadow.is_some(),
            _ => true,
        }
    }

    fn execute(&mut self, i: Instr) -> Result<(), String> {
        match i.op().ok_or("bad opcode")? {
            Op::Load => self.load(i),
            Op::WgtShift => {
                let (rows, groups) = (i.get("rows") as usize, i.get("groups") as usize);
                let n = self.arch.groups as usize;
                let len = self.arch.wgt_word_bits.div_ceil(64) as usize;
                let mut w =
                    Weights { rows, words: vec![vec![vec![u64::MAX; len]; n]; rows], taps: Vec::new() };
                for r in 0..rows {
                    for g in 0..groups {
                        let at = i.get("addr") as usize + r * groups + groups - 1 - g;
                        w.words[r][g] = self.wgt[at % self.wgt.len()].clone();
                    }
                    w.taps.push(self.taps[(i.get("tap") as usize + r) % self.taps.len()]);
                }
                self.shadow = Some(w);
                Ok(())
            }
            Op::Pass => self.pass(i),
            Op::Post => self.post(i),
            Op::PostDram => {
                let at = i.get("offset") as usize;
                self.dram = (i.get("region") as usize, at, 0, at);
                self.config.insert(Op::PostDram, i);
                Ok(())
            }
            op => {
                self.config.insert(op, i);
                Ok(())
            }
        }
    }

    fn load(&mut self, i: Instr) -> Result<(), String> {
        let dst = LoadDst::from_bits(i.get("dst") as u64).ok_or("bad dst")?;
        let (ports, beats) = (self.arch.load_ports(dst) as usize, self.arch.load_beats(dst) as usize);
        let (n, base) = (i.get("words") as usize, i.get("base") as usize);
        let (rows, pitch) = (i.get("rows") as usize, i.get("pitch") as usize);
        let shape = rows == 1 || (rows > 1 && dst == LoadDst::Act);
        if !shape || n == 0 || base + n * rows > self.arch.load_depth(dst) as usize {
            return Err(format!("illegal {i}"));
        }
        for row in 0..rows {
            let offset = i.get("offset") as usize + row * pitch * 8;
            self.load_row(i, dst, (ports, beats), n, (base + row * n, offset))?;
        }
        Ok(())
    }

    /// `n` buffer words from byte `offset` on to word `base` on.
    fn load_row(
        &mut self,
        i: Instr,
        dst: LoadDst,
        (ports, beats): (usize, usize),
        n: usize,
        (base, offset): (usize, usize),
    ) -> Result<(), String> {
        let region = &self.regions[i.get("region") as usize];
        if offset + n * beats * ports * 8 > region.len().next_multiple_of(8) {
            return Err(format!("beyond the region: {i}"));
        }
        for k in 0..n {
            let bits: Vec<u64> = (0..beats * ports)
                .map(|j| word(region, offset + ((j % ports) * n * beats + k * beats + j / ports) * 8))
                .collect();
            let at = base + k;
            let lanes = self.arch.lanes as usize;
            match dst {
                LoadDst::Act => (0..4).for_each(|p| self.banks[at * 4 + p] = field(&bits, p * lanes, lanes)),
                LoadDst::Wgt => self.wgt[at] = bits,
                LoadDst::Param => {
                    self.params[at] = ChannelParams {
                        bias: field(&bits, 0, 32) as u32 as i32,
                        multiplier: field(&bits, 32, 32) as u32 as i32,
                        addend: field(&bits, 64, 32) as u32,
                        shift: field(&bits, 96, 6) as u8,
                    }
                }
                LoadDst::Tap => {
                    let signed = |lo, w| wrap(field(&bits, lo, w) as i128, w as u32);
                    self.taps[at] = (signed(0, 16), signed(16, 10), signed(26, 10))
                }
                LoadDst::Table => self.table[at] = field(&bits, 0, 16) as u16 as i16,
            }
        }
        Ok(())
    }

    /// Activation of a row and lane as an integer.
    fn activations(
        &self,
        addr: i64,
        tap: (i64, i64, i64),
        y: i64,
        x: i64,
        planes: usize,
        signed: bool,
    ) -> Vec<i64> {
        let shape = self.config[&Op::PassShape];
        let (y, x) = (wrap(y as i128, 12) + tap.1, wrap(x as i128, 12) + tap.2);
        let inside = y >= 0 && y < shape.get("h") && x >= 0 && x < shape.get("w");
        (0..self.arch.lanes)
            .map(|lane| {
                let bit = |p: usize| match inside {
                    true => {
                        let at = (addr + tap.0 + p as i64).rem_euclid(self.arch.plane_words as i64);
                        self.banks[at as usize] >> lane & 1
                    }
                    false => shape.get("pad") as u64 >> (15 - p as i32).max(0) & 1,
                };
                let v = (0..planes).fold(0i64, |v, p| v << 1 | bit(p) as i64);
                v - if signed && bit(0) == 1 { 1i64 << planes } else { 0 }
            })
            .collect()
    }

    fn pass(&mut self, i: Instr) -> Result<(), String> {
        if i.flag("swap") {
            self.array = self.shadow.take().ok_or("no shadow weights")?;
        }
        let shape = self.config[&Op::PassShape];
        let turns = ["n0", "n1", "n2", "n3"].map(|n| shape.get(n) + 1);
        let jump =
            |op: Op, names: [&str; 3]| self.config.get(&op).map_or([0; 3], |j| names.map(|n| j.get(n)));
        let jumps = [
            jump(Op::PassJump01, ["da0", "dy0", "dx0"]),
            jump(Op::PassJump01, ["da1", "dy1", "dx1"]),
            jump(Op::PassJump23, ["da2", "dy2", "dx2"]),
            jump(Op::PassJump23, ["da3", "dy3", "dx3"]),
        ];
        let (mut a, mut y, mut x) = (i.get("addr"), i.get("y"), i.get("x"));
        let mut counts = [0i64; 4];
        for m in 0.. {
            let at = (i.get("acc") as usize + m) % self.arch.acc_depth as usize;
            self.pixel(i, a, y, x, at)?;
            let Some(s) = (0..4).find(|s| counts[*s] + 1 < turns[*s]) else { break };
            counts[..s].fill(0);
            counts[s] += 1;
            (a, y, x) = (a + jumps[s][0], y + jumps[s][1], x + jumps[s][2]);
        }
        Ok(())
    }

    fn pixel(&mut self, i: Instr, a: i64, y: i64, x: i64, at: usize) -> Result<(), String> {
        let arch = self.arch;
        let brick = arch.brick_bits as usize;
        let planes = (i.get("steps") as usize + 1) * brick;
        let rows: Vec<Vec<i64>> = (0..self.array.rows)
            .map(|r| self.activations(a, self.array.taps[r], y, x, planes, i.flag("act_signed")))
            .collect();
        let q = i.get("wgt_log2") as usize;
        let bits = 1usize << q;
        if bits < brick {
            return Err("1-bit weights with 2-bit bricks".into());
        }
        let (step, width) = ([1, 2, 4, 8][q], [18, 36, 64, 64][q]);
        for g in 0..arch.groups as usize {
            for segment in (0..8).step_by(step) {
                let mut h = 0i64;
                for (r, acts) in rows.iter().enumerate() {
                    let w = &self.array.words[r][g];
                    for (lane, act) in acts.iter().enumerate().filter(|a| *a.1 != 0) {
                        let bit = |k: usize| {
                            let at = (segment / brick + k / brick) * arch.act_bits as usize
                                + lane * brick
                                + k % brick;
                            w[at / 64] >> (at % 64) & 1
                        };
                        let mut v: i64 = (0..bits).map(|k| (bit(k) as i64) << k).sum();
                        if i.flag("wgt_signed") && bit(bits - 1) == 1 {
                            v -= 1 << bits;
                        }
                        h += v * act;
                    }
                }
                let old = match (i.flag("overwrite"), i.flag("shift8")) {
                    (true, _) => 0,
                    (false, s8) => self.acc[g][at][segment] << if s8 { 8 } else { 0 },
                };
                self.acc[g][at][segment] = wrap(old as i128 + h as i128, width);
            }
        }
        let s: i64 = rows.iter().flatten().sum();
        let old = if i.flag("overwrite") { 0 } else { self.sum[at] };
        self.sum[at] = wrap(old as i128 + s as i128, 18);
        Ok(())
    }

    fn post(&mut self, i: Instr) -> Result<(), String> {
        let m = self.config[&Op::PostMode];
        let lanes = self.arch.requant_lanes as usize;
        let rounding = Rounding::from_bits(m.get("rounding") as u64).ok_or("rounding")?;
        let get = |n: &str| i.get(n) as usize;
        let window = get("window") + 1;
        let (add, int32) = (m.flag("add"), m.flag("int32"));
        let q = m.get("wgt_log2") as u32;
        let beats = get("beats") + 1;
        for pixel in 0..get("pixels") + 1 {
            let mut values: Vec<i32> = Vec::new();
            for tile in 0..get("tiles") + 1 {
                for beat in 0..beats {
                    for lane in 0..lanes {
                        let acc = |w: usize, extra: usize, extra_beat: usize| {
                            let at = get("acc") + pixel * window + w + tile * get("tile_acc") + extra;
                            let channel = (get("beat") + beat + extra_beat) * lanes + lane;
                            let slot = self.arch.acc_slot(q, channel as u32);
                            let raw = self.acc[slot.group as usize][at % self.arch.acc_depth as usize];
                            let v = wrap(raw[slot.lo as usize / 18] as i128, slot.width);

                            if m.flag("bipolar") {
                                self.sum[at % self.arch.acc_depth as usize] - 2 * v
                            } else if m.flag("shl20") {
                                v << 20
                            } else {
                                v
                            }
                        };
                        let param = |extra: usize| {
                            self.params[(get("param") + tile * beats + beat + extra) * lanes + lane]
                        };
                        let y = |v: i64, p: &ChannelParams| round_scaled(wrap(v as i128, 42), p, rounding);
                        let finish = |y: i64| match m.flag("raw") {
                            true => wrap(y as i128, 32),
                            false => (y + m.get("zp")).min(m.get("hi")).max(m.get("lo")),
                        };
                        let p = param(0);
                        let z = if add {
                            let pa = self.config[&Op::PostAdd];
                            let a = y(acc(0, 0, 0) + p.bias as i64, &p);
                            let pb = param(pa.get("param_b") as usize);
                            let b = acc(0, pa.get("acc") as usize, pa.get("beat") as usize) + pb.bias as i64;
                            let b = y(b, &pb);
                            let ps = param(pa.get("param_s") as usize);
                            finish(y(wrap(a as i128, 32) + wrap(b as i128, 32) + ps.bias as i64, &ps))
                        } else {
                            match m.get("window") {
                                2 => {
                                    let v: i64 = (0..window).map(|w| acc(w, 0, 0)).sum();
                                    finish(y(v + p.bias as i64, &p))
                                }
                                1 => (0..window)
                                    .map(|w| finish(y(acc(w, 0, 0) + p.bias as i64, &p)))
                                    .max()
                                    .unwrap_or(0),
                                _ => finish(y(acc(window - 1, 0, 0) + p.bias as i64, &p)),
                            }
                        };
                        let z = if m.flag("table") { self.table[(z & 255) as usize] as i64 } else { z };
                        values.push(z as i32);
                    }
                }
            }
            match int32 {
                true => {
                    for pair in values.chunks(2) {
                        self.dram_word(pair[0] as u32 as u64 | (pair[1] as u32 as u64) << 32);
                    }
                }
                false => self.planes(i, pixel, &values),
            }
        }
        Ok(())
    }

    fn planes(&mut self, i: Instr, pixel: usize, values: &[i32]) {
        let m = self.config[&Op::PostMode];
        let k = self.arch.lanes as usize;
        let planes = m.get("planes") as usize + 1;
        let blocks = values.len().div_ceil(k);
        for block in 0..blocks {
            let valid = if block + 1 == blocks { i.get("last_lanes") as usize + 1 } else { k };
            let words: Vec<u64> = (0..planes)
                .map(|p| {
                    let bit = |l: usize| (values[block * k + l] >> (planes - 1 - p)) as u64 & 1;
                    (0..valid.min(values.len() - block * k)).map(|l| bit(l) << l).sum()
                })
                .collect();
            if m.flag("dram") {
                for four in words.chunks(4) {
                    let mut bits = [0u64; 2];
                    for (p, w) in four.iter().enumerate() {
                        for l in 0..k {
                            bits[(p * k + l) / 64] |= (w >> l & 1) << ((p * k + l) % 64);
                        }
                    }
                    (0..(4 * k).div_ceil(64)).for_each(|b| self.dram_word(bits[b]));
                }
            } else {
                let o = self.config[&Op::PostOut];
                let n = o.get("nx") as usize + 1;
                let (row, col) = ((pixel / n) as i64, (pixel % n) as i64);
                let offset = row * (o.get("dy") + (n as i64 - 1) * o.get("dx")) + col * o.get("dx");
                let at = i.get("out") + offset + block as i64 * o.get("db");
                for (p, w) in words.into_iter().enumerate() {
                    let at = (at + p as i64).rem_euclid(self.arch.plane_words as i64);
                    self.banks[at as usize] = w;
                }
            }
        }
    }

    fn dram_word(&mut self, value: u64) {
        let d = self.config[&Op::PostDram];
        let (region, mut at, mut count, mut row) = self.dram;
        if let Some(bytes) = self.regions[region].get_mut(at..at + 8) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        at += 8;
        count += 1;
        if count == d.get("words") as usize {
            row += d.get("pitch") as usize * 8;
            (at, count) = (row, 0);
        }
        self.dram = (region, at, count, row);
    }
}
