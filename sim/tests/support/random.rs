// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random numbers that a seed repeats (xorshift64*).

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0..n
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    /// True once in `n` times.
    pub fn chance(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Below `rare` once in `n` times, else below `usual`.
    pub fn below_rarely(&mut self, n: u64, rare: u64, usual: u64) -> u64 {
        let limit = if self.chance(n) { rare } else { usual };
        self.below(limit)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// Any number of `bits` bits (1..=64), two's complement; one in six the smallest or the largest.
    pub fn signed_bits(&mut self, bits: u32) -> i64 {
        let (min, max) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
        match self.below(12) {
            0 => min,
            1 => max,
            _ => self.next() as i64 >> (64 - bits),
        }
    }
}
