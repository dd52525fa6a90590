// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers that are the same everywhere for the same seed.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// The stream of a seed and some numbers that tell it from others.
    pub fn new(seed: u64, stream: &[u64]) -> Random {
        let mut random = Random(seed);
        for n in stream {
            random = Random(random.draw() ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        random
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// 0 .. `n`, `n` > 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}
