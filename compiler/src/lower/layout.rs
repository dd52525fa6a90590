// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How tensors lie in the activation banks and in DRAM, and how buffer words lie in DRAM.

use crate::ir::IntType;
use hdl_gen::arch::PLANES_PER_WORD;
use hdl_gen::isa::LoadDst;
use hdl_gen::Arch;
use serde::{Deserialize, Serialize};

/// Plane slots that a channel block may take; the index is the code of `post.mode.slots`.
pub const SLOTS: [u32; 6] = [1, 2, 4, 8, 12, 16];

/// A tensor as bit-planes: `[y][x][channel block][plane]`, plane-words of `lanes` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// `[h, w, c]`.
    pub shape: [usize; 3],
    pub ty: IntType,
    /// Planes stored, most significant first; `ty.bits` rounded up to the planes of one step.
    pub planes: u32,
    /// Plane-words of one channel block.
    pub slots: u32,
    /// Channels of one block.
    pub lanes: u32,
}

impl Layout {
    /// The tightest layout in the banks.
    pub fn new(arch: &Arch, shape: [usize; 3], ty: IntType) -> Layout {
        let planes = (ty.bits as u32).next_multiple_of(arch.brick_bits).min(16);
        let slots = SLOTS.into_iter().find(|s| *s >= planes).unwrap_or(16);
        Layout { shape, ty, planes, slots, lanes: arch.lanes }
    }

    /// The same with whole bank words for every block: what post-processing writes to DRAM.
    pub fn in_dram(self) -> Layout {
        Layout { slots: self.planes.next_multiple_of(PLANES_PER_WORD), ..self }
    }

    /// Code of `slots` in `post.mode`.
    pub fn slots_code(&self) -> i64 {
        SLOTS.iter().position(|s| *s == self.slots).unwrap_or(SLOTS.len() - 1) as i64
    }

    /// Channel blocks of a pixel.
    pub fn blocks(&self) -> usize {
        self.shape[2].div_ceil(self.lanes as usize)
    }

    /// Plane-words from one pixel to the next.
    pub fn pixel(&self) -> usize {
        self.blocks() * self.slots as usize
    }

    /// Plane-words from one row to the next.
    pub fn row(&self) -> usize {
        self.shape[1] * self.pixel()
    }

    /// Plane-words of the whole tensor, rounded up to bank words.
    pub fn size(&self) -> usize {
        (self.shape[0] * self.row()).next_multiple_of(PLANES_PER_WORD as usize)
    }

    /// Bits 15 down: the planes of `code` in the order in which they are streamed (`pass.shape.pad`).
    pub fn pad_bits(&self, code: i32) -> i64 {
        let mask = (1u32 << self.planes) - 1;
        ((code as u32 & mask) << (16 - self.planes)) as i64
    }

    /// Codes `[y][x][c]` to bank words, each `4 * lanes` bits padded to whole 64-bit words.
    pub fn pack(&self, codes: &[i32]) -> Vec<u64> {
        let mut planes = vec![0u64; self.size()];
        let [h, w, c] = self.shape;
        for pixel in 0..h * w {
            for ch in 0..c {
                let (block, lane) = (ch / self.lanes as usize, ch % self.lanes as usize);
                let at = pixel * self.pixel() + block * self.slots as usize;
                let code = codes[pixel * c + ch];
                for p in 0..self.planes {
                    let bit = (code >> (self.planes - 1 - p)) as u64 & 1;
                    planes[at + p as usize] |= bit << lane;
                }
            }
        }
        bank_words(self.lanes, &planes)
    }

    /// The inverse of [`Layout::pack`].
    pub fn unpack(&self, words: &[u64]) -> Vec<i32> {
        let [h, w, c] = self.shape;
        let mut codes = vec![0i32; h * w * c];
        for pixel in 0..h * w {
            for ch in 0..c {
                let (block, lane) = (ch / self.lanes as usize, ch % self.lanes as usize);
                let at = pixel * self.pixel() + block * self.slots as usize;
                let mut code = 0i32;
                for p in 0..self.planes as usize {
                    code = code << 1 | plane_bit(self.lanes, words, at + p, lane) as i32;
                }
                let unused = 32 - self.planes;
                codes[pixel * c + ch] = match self.ty.signed {
                    true => code << unused >> unused,
                    false => code,
                };
            }
        }
        codes
    }
}

/// 64-bit words of one bank word in memory.
pub fn beats_per_bank_word(lanes: u32) -> usize {
    (PLANES_PER_WORD * lanes).div_ceil(64) as usize
}

/// Four plane-words to a bank word, low plane first, padded to 64 bits.
fn bank_words(lanes: u32, planes: &[u64]) -> Vec<u64> {
    let beats = beats_per_bank_word(lanes);
    let mut out = vec![0u64; planes.len().div_ceil(4) * beats];
    for (i, plane) in planes.iter().enumerate() {
        let bit = (i % 4) * lanes as usize;
        put_bits(&mut out[i / 4 * beats..][..beats], bit, lanes, *plane);
    }
    out
}

fn plane_bit(lanes: u32, words: &[u64], plane_word: usize, lane: usize) -> u64 {
    let bit = (plane_word % 4) * lanes as usize + lane;
    words[plane_word / 4 * beats_per_bank_word(lanes) + bit / 64] >> (bit % 64) & 1
}

/// Sets `width` bits (1..=64) at `bit` of a little-endian bit string; the place must be 0.
pub fn put_bits(words: &mut [u64], bit: usize, width: u32, value: u64) {
    let value = if width == 64 { value } else { value & ((1 << width) - 1) };
    let (i, s) = (bit / 64, bit % 64);
    words[i] |= value << s;
    if s != 0 && s + width as usize > 64 {
        words[i + 1] |= value >> (64 - s);
    }
}

/// 64-bit words to bytes.
pub fn to_bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Buffer words as a `load` expects them in DRAM: memory words of 64 bits per port, one part for each port.
///
/// `words`: each the little-endian bit string of one buffer word.
pub fn stripe(arch: &Arch, dst: LoadDst, words: &[Vec<u64>]) -> Vec<u8> {
    let ports = arch.load_ports(dst) as usize;
    let beats = arch.load_beats(dst) as usize;
    let mut parts = vec![Vec::with_capacity(words.len() * beats); ports];
    for word in words {
        for beat in 0..beats {
            for (port, part) in parts.iter_mut().enumerate() {
                part.push(word.get(beat * ports + port).copied().unwrap_or(0));
            }
        }
    }
    to_bytes(&parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::test_arch;

    #[test]
    fn packing_and_unpacking_are_inverse_at_every_width() {
        let arch = test_arch();
        for bits in 1..=16u8 {
            for signed in [false, true] {
                let layout = Layout::new(&arch, [2, 3, 11], IntType { bits, signed });
                let range = 1i64 << bits;
                let lo = if signed { -(range / 2) } else { 0 };
                let codes: Vec<i32> = (0..66).map(|i| (lo + (i as i64 * 7919 + 13) % range) as i32).collect();
                assert_eq!(layout.unpack(&layout.pack(&codes)), codes, "{bits} bits, signed {signed}");
                let dram = layout.in_dram();
                assert_eq!(dram.unpack(&dram.pack(&codes)), codes, "{bits} bits in DRAM");
            }
        }
    }

    #[test]
    fn pad_bits_stand_most_significant_plane_first() {
        let layout = Layout::new(&test_arch(), [1, 1, 1], IntType { bits: 4, signed: true });
        assert_eq!(layout.pad_bits(-3), 0b1101 << 12);
    }
}
