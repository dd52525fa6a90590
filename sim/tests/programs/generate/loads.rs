// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Loads to all destinations, with the contents that the programs count on.

use super::*;

impl Generator<'_> {
    pub(super) fn load_act_whole(&mut self) -> Task {
        let bytes = self.arch.bank_depth as usize * self.arch.load_beats(LoadDst::Act) as usize * 8;
        let offset = self.constants.len() as i64;
        self.constants.extend(self.rng.bytes(bytes));
        self.load_act_at(0, offset, 0, self.arch.bank_depth, 1, 0)
    }

    /// Some rows from anywhere, also from what `post` writes and from behind the end of a region.
    pub(super) fn load_act(&mut self) -> Task {
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
    pub(super) fn reload(&mut self) -> Task {
        let dst = self.rng.pick(&[LoadDst::Wgt, LoadDst::Param, LoadDst::Table]);
        let depth = self.arch.load_depth(dst);
        let words = 1 + self.rng.below(depth.min(48));
        let base = self.rng.below(depth - words + 1);
        self.load_constants(dst, base, words)
    }

    /// Random contents for buffer words `base..base + words` from region 0.
    pub(super) fn load_constants(&mut self, dst: LoadDst, base: u32, words: u32) -> Task {
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

    /// Taps in the upper half of the table; 4-aligned, they suit every pass.
    pub(super) fn load_taps(&mut self, first: u32, rows: u32) -> Task {
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
