// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The function of post-processing, bit-exact.

use crate::image::{region_base, Fault, RunOptions, REGION_STRIDE};
use crate::machine::buffers::Buffers;
use hdl_gen::arch::PLANES_PER_WORD;
use hdl_gen::isa::{Instr, Op, WindowOp};
use hdl_gen::numfmt::{round_scaled, wrap, ChannelParams, Rounding};
use hdl_gen::Arch;

/// Bits of the value before the multiplication.
const VALUE_BITS: u32 = hdl_gen::arch::ACC_VALUE_BITS;

/// `post.mode`, as the configuration supports it.
#[derive(Clone, Copy, Debug)]
struct Mode {
    rounding: Rounding,
    zp: i64,
    lo: i64,
    hi: i64,
    raw: bool,
    table: bool,
    window_max: bool,
    window_sum: bool,
    bipolar: bool,
    shl20: bool,
    add: bool,
    wgt_log2: u32,
    dram: bool,
    int32: bool,
    planes: u32,
}

impl Mode {
    fn new(arch: &Arch, i: Instr) -> Self {
        let bipolar = i.flag("bipolar") && arch.has_sum_column;
        let int32 = i.flag("int32");
        Mode {
            rounding: Rounding::from_bits(i.get("rounding") as u64).expect("every code of three bits"),
            zp: i.get("zp"),
            lo: i.get("lo"),
            hi: i.get("hi"),
            raw: i.flag("raw"),
            table: i.flag("table") && arch.has_table,
            window_max: i.get("window") == WindowOp::Max as i64,
            window_sum: i.get("window") == WindowOp::Sum as i64,
            bipolar,
            shl20: i.flag("shl20") && !bipolar,
            add: i.flag("add") && arch.has_add,
            wgt_log2: i.get("wgt_log2") as u32,
            dram: i.flag("dram") || int32,
            int32,
            planes: i.get("planes") as u32 + 1,
        }
    }

    /// zero point, clamp (from below with `floor`) of a rounded value; `y` itself if raw.
    fn clamp(&self, y: i64, floor: i64) -> i64 {
        if self.raw {
            return y as i32 as i64;
        }
        (y + self.zp).min(self.hi).max(floor)
    }

    /// The 32-bit result of a clamped value.
    fn finish(&self, z: i64, table: &[i16]) -> i32 {
        if self.table && !self.raw {
            table[(z & 255) as usize] as i32
        } else {
            z as i32
        }
    }
}

/// Where one lane's value of a beat stands; `None`: beyond the last group, reads as 0.
type Source = Option<(usize, u32, u32)>;

/// Position in DRAM, moved on by every word.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    address: u32,
    row: u32,
    left: u32,
    words: u32,
    pitch_bytes: u32,
}

impl Cursor {
    fn new(i: Instr) -> Self {
        let row = (region_base(i.get("region") as usize) as u32).wrapping_add(i.get("offset") as u32);
        let words = (i.get("words") as u32).max(1);
        Cursor { address: row, row, left: words, words, pitch_bytes: i.get("pitch") as u32 * 8 }
    }

    /// Address of the next word.
    fn step(&mut self) -> u32 {
        let at = self.address;
        self.address = at.wrapping_add(8);
        self.left -= 1;
        if self.left == 0 {
            self.row = self.row.wrapping_add(self.pitch_bytes);
            self.address = self.row;
            self.left = self.words;
        }
        at
    }
}

/// Modes and the function of a `post`.
#[derive(Clone, Debug)]
pub struct PostFunction {
    arch: Arch,
    mode: Mode,
    out: Instr,
    add: Instr,
    cursor: Cursor,
    faults: Vec<Fault>,
    /// What the words of the present `post` have overwritten in memory, in order.
    overwritten: Vec<Option<Overwritten>>,
}

/// Bytes of a region before a word was stored; fewer than eight at the region's end.
#[derive(Clone, Debug)]
struct Overwritten {
    region: usize,
    offset: usize,
    bytes: Vec<u8>,
}

/// The operands of one `post`, with what the mode makes of them.
struct Job {
    acc: usize,
    window: usize,
    tiles: usize,
    tile_acc: usize,
    beats: usize,
    param: usize,
    /// `[beat][lane]`, of operand A (or the only one) and B.
    sources: [Vec<Source>; 2],
}

impl PostFunction {
    pub fn new(arch: &Arch, options: &RunOptions) -> Self {
        PostFunction {
            arch: arch.clone(),
            mode: Mode::new(arch, Instr::new(Op::PostMode)),
            out: Instr::new(Op::PostOut),
            add: Instr::new(Op::PostAdd),
            cursor: Cursor::new(Instr::new(Op::PostDram)),
            faults: options.faults.clone(),
            overwritten: vec![],
        }
    }

    /// Takes back all words that the present `post` stored, but the first `words`.
    pub fn take_back(&mut self, words: usize, regions: &mut [Vec<u8>; 4]) {
        let words = words.min(self.overwritten.len());
        for o in self.overwritten.drain(words..).rev().flatten() {
            regions[o.region][o.offset..o.offset + o.bytes.len()].copy_from_slice(&o.bytes);
        }
    }

    pub fn execute(&mut self, i: Instr, buffers: &mut Buffers, regions: &mut [Vec<u8>; 4]) {
        match i.op() {
            Some(Op::PostMode) => self.mode = Mode::new(&self.arch, i),
            Some(Op::PostOut) => self.out = i,
            Some(Op::PostAdd) => self.add = i,
            Some(Op::PostDram) => self.cursor = Cursor::new(i),
            Some(Op::Post) => self.post(i, buffers, regions),
            _ => {}
        }
    }

    fn post(&mut self, i: Instr, buffers: &mut Buffers, regions: &mut [Vec<u8>; 4]) {
        let job = self.job(i);
        self.overwritten.clear();
        let lanes = self.arch.requant_lanes as usize;
        let block = self.arch.lanes as usize;
        let last_lanes = i.get("last_lanes") as usize;
        let mut results = vec![0i32; job.tiles * job.beats * lanes];
        let mut out = OutNest::new(&self.arch, self.out, i.get("out") as u32);
        for pixel in 0..=i.get("pixels") as usize {
            let first_acc = job.acc + pixel * job.window;
            for (t, tile) in results.chunks_mut(job.beats * lanes).enumerate() {
                self.tile(&job, first_acc + t * job.tile_acc, job.param + t * job.beats, buffers, tile);
            }
            if self.mode.int32 {
                for pair in results.chunks(2) {
                    self.store(pair[0] as u32 as u64 | (pair[1] as u32 as u64) << 32, regions);
                }
                continue;
            }
            let blocks = results.len().div_ceil(block);
            for (b, values) in results.chunks(block).enumerate() {
                let last = b + 1 == blocks;
                let values = if last { &values[..values.len().min(last_lanes + 1)] } else { values };
                let planes = planes_of(values, self.mode.planes);
                if self.mode.dram {
                    self.store_block(&planes, regions);
                } else {
                    write_block(buffers, out.address, &planes[..self.mode.planes as usize]);
                }
                out.step(last);
            }
        }
    }

    fn job(&self, i: Instr) -> Job {
        let (beats, beat) = (i.get("beats") as usize + 1, i.get("beat") as u32);
        let sources = |first: u32| -> Vec<Source> {
            let lanes = self.arch.requant_lanes;
            (0..beats as u32 * lanes).map(|n| self.source((first + n / lanes) & 0x3ff, n % lanes)).collect()
        };
        let second = if self.mode.add { sources(beat + self.add.get("beat") as u32) } else { vec![] };
        Job {
            acc: i.get("acc") as usize,
            window: i.get("window") as usize + 1,
            tiles: i.get("tiles") as usize + 1,
            tile_acc: i.get("tile_acc") as usize,
            beats,
            param: i.get("param") as usize,
            sources: [sources(beat), second],
        }
    }

    /// `beat` has 10 bits; an index beyond the bus's groups wraps at the next power of two and reads 0 in the gap.
    fn source(&self, beat: u32, lane: u32) -> Source {
        let slot = self.arch.acc_slot(self.mode.wgt_log2, beat * self.arch.requant_lanes + lane);
        let bus_groups = self.arch.groups / self.arch.drain_buses;
        let bus = lane / 4;
        let group = (slot.group - bus * bus_groups) & (bus_groups.next_power_of_two() - 1);
        (group < bus_groups).then_some(((bus * bus_groups + group) as usize, slot.lo, slot.width))
    }

    /// Value before bias.
    fn value(&self, source: Source, acc: usize, buffers: &Buffers) -> i64 {
        let acc = acc & (self.arch.acc_depth as usize - 1);
        let x = source.map_or(0, |(group, lo, width)| buffers.acc_value(group, acc, lo, width));
        if self.mode.bipolar {
            wrap(buffers.sum[acc] as i128 - 2 * x as i128, VALUE_BITS)
        } else if self.mode.shl20 {
            wrap((x as i128) << 20, VALUE_BITS)
        } else {
            x
        }
    }

    fn params<'a>(&self, word: usize, lane: usize, buffers: &'a Buffers) -> &'a ChannelParams {
        let word = word & (self.arch.param_depth as usize - 1);
        &buffers.params[word * self.arch.requant_lanes as usize + lane]
    }

    /// All beats of one tile of one result pixel; `out` holds beats * lanes values.
    fn tile(&self, job: &Job, acc: usize, param: usize, buffers: &Buffers, out: &mut [i32]) {
        let lanes = self.arch.requant_lanes as usize;
        for (n, result) in out.iter_mut().enumerate() {
            let (word, lane) = (param + n / lanes, n % lanes);
            let z = if self.mode.add {
                self.sum(job, n, acc, word, buffers)
            } else {
                self.window(job.sources[0][n], acc, job.window, self.params(word, lane, buffers), buffers)
            };
            *result = self.mode.finish(z, &buffers.table);
        }
    }

    fn window(&self, source: Source, acc: usize, count: usize, p: &ChannelParams, buffers: &Buffers) -> i64 {
        let mode = &self.mode;
        let (mut v, mut z) = (0, 0);
        for w in 0..count {
            let x = self.value(source, acc + w, buffers);
            let other = if mode.window_sum && w > 0 { v } else { p.bias as i64 };
            v = wrap((x + other) as i128, VALUE_BITS);
            if !mode.window_sum || w + 1 == count {
                let floor = if mode.window_max && w > 0 { z } else { mode.lo };
                z = mode.clamp(round_scaled(v, p, mode.rounding), floor);
            }
        }
        z
    }

    fn sum(&self, job: &Job, n: usize, acc: usize, word: usize, buffers: &Buffers) -> i64 {
        let lane = n % self.arch.requant_lanes as usize;
        let field = |name: &str| self.add.get(name) as usize;
        let operand = |source: Source, acc: usize, word: usize| {
            let p = self.params(word, lane, buffers);
            let v = wrap((self.value(source, acc, buffers) + p.bias as i64) as i128, VALUE_BITS);
            round_scaled(v, p, self.mode.rounding) as i32 as i64
        };
        let a = operand(job.sources[0][n], acc, word);
        let b = operand(job.sources[1][n], acc + field("acc"), word + field("param_b"));
        let p = self.params(word + field("param_s"), lane, buffers);
        let v = wrap((a + b + p.bias as i64) as i128, VALUE_BITS);
        self.mode.clamp(round_scaled(v, p, self.mode.rounding), self.mode.lo)
    }

    fn store_block(&mut self, planes: &[u64; 16], regions: &mut [Vec<u8>; 4]) {
        let words = self.mode.planes.div_ceil(PLANES_PER_WORD) as usize;
        for word in planes.chunks(PLANES_PER_WORD as usize).take(words) {
            let bits = word.iter().rev().fold(0u128, |w, plane| (w << self.arch.lanes) | *plane as u128);
            for part in 0..self.arch.bank_word_beats() {
                self.store((bits >> (64 * part)) as u64, regions);
            }
        }
    }

    fn store(&mut self, word: u64, regions: &mut [Vec<u8>; 4]) {
        let at = self.cursor.step() as u64;
        let faulty = self.faults.iter().any(|f| f.touches(at, 8));
        let done = if faulty { None } else { overwrite(at, word, regions) };
        self.overwritten.push(done);
    }
}

/// Stores a word where a region is; returns what was there.
fn overwrite(at: u64, word: u64, regions: &mut [Vec<u8>; 4]) -> Option<Overwritten> {
    let region = (at / REGION_STRIDE).checked_sub(1)? as usize;
    let offset = (at % REGION_STRIDE) as usize;
    let memory = regions.get_mut(region)?;
    let end = memory.len().min(offset + 8);
    let cells = memory.get_mut(offset..end)?;
    let bytes = cells.to_vec();
    cells.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    Some(Overwritten { region, offset, bytes })
}

/// The bit-planes of a block, most significant of the `planes` used ones first; the rest 0.
fn planes_of(values: &[i32], planes: u32) -> [u64; 16] {
    let mut words = [0u64; 16];
    for (lane, v) in values.iter().enumerate() {
        for (p, word) in words[..planes as usize].iter_mut().enumerate() {
            *word |= ((v >> (planes as usize - 1 - p)) as u64 & 1) << lane;
        }
    }
    words
}

/// Writes the planes of a block; one or two planes go to any (even) sub-bank, more begin at a bank word.
fn write_block(buffers: &mut Buffers, address: u32, planes: &[u64]) {
    let mask = buffers.banks.len() - 1;
    let align = (planes.len() as u32).next_power_of_two().min(PLANES_PER_WORD);
    let first = address as usize & !(align as usize - 1);
    for (p, word) in planes.iter().enumerate() {
        buffers.banks[(first + p) & mask] = *word;
    }
}

/// The addresses of `post.out`.
struct OutNest {
    /// Of the next block.
    address: u32,
    pixel: u32,
    x: u32,
    nx: u32,
    dx: u32,
    dy: u32,
    db: u32,
}

impl OutNest {
    fn new(arch: &Arch, i: Instr, out: u32) -> Self {
        let out = out & (arch.plane_words - 1);
        let step = |name: &str| i.get(name) as u32;
        OutNest {
            address: out,
            pixel: out,
            x: 0,
            nx: step("nx"),
            dx: step("dx"),
            dy: step("dy"),
            db: step("db"),
        }
    }

    /// To the next block, or the next pixel.
    fn step(&mut self, pixel_done: bool) {
        if !pixel_done {
            self.address = self.address.wrapping_add(self.db);
            return;
        }
        let row_done = self.x == self.nx;
        self.pixel = self.pixel.wrapping_add(if row_done { self.dy } else { self.dx });
        self.x = if row_done { 0 } else { self.x + 1 };
        self.address = self.pixel;
    }
}
