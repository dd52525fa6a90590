// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Transposed convolutions taken apart: outputs with the same remainder by the stride are an ordinary convolution of the input.

/// Channels of the convolutions are whole blocks of so many: shapes then move nothing in the banks of most configurations.
pub const BLOCK: usize = 16;

/// One axis: output `stride * q + phase` is the sum over `j` of input `q + shift - j` times kernel position `first + stride * j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    first: usize,
    shift: usize,
    taps: usize,
}

impl Phase {
    fn new(phase: usize, pad: usize, stride: usize, kernel: usize) -> Phase {
        let (first, shift) = ((phase + pad) % stride, (phase + pad) / stride);
        Phase { first, shift, taps: kernel.saturating_sub(first).div_ceil(stride) }
    }

    /// Farthest input before and behind its own that the output reads.
    fn reach(&self) -> [usize; 2] {
        let before = (self.taps as isize - 1 - self.shift as isize).max(0) as usize;
        [before, if self.taps > 0 { self.shift } else { 0 }]
    }

    /// Kernel position that input `q - before + i` meets; `None`: none.
    pub fn position(&self, i: usize, before: usize, stride: usize) -> Option<usize> {
        let j = (self.shift + before).checked_sub(i).filter(|&j| j < self.taps)?;
        Some(self.first + stride * j)
    }
}

/// Rows or columns of the input, the output and the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub size: usize,
    pub out: usize,
    pub stride: usize,
    pub kernel: usize,
    pub pad: usize,
}

impl Axis {
    pub fn phase(&self, p: usize) -> Phase {
        Phase::new(p, self.pad, self.stride, self.kernel)
    }

    /// What all phases together read before and behind.
    fn reach(&self) -> [usize; 2] {
        let all = (0..self.stride).map(|p| self.phase(p).reach());
        all.fold([0, 0], |a, b| [a[0].max(b[0]), a[1].max(b[1])])
    }

    /// Positions of each phase that are computed, padding before and behind, and taps.
    pub fn window(&self) -> (usize, [usize; 2], usize) {
        let [before, behind] = self.reach();
        let count = self.out.div_ceil(self.stride).max(self.size - behind.min(self.size - 1));
        // Outputs beyond the last input: padding stays smaller than the window.
        let before = before.max(count.saturating_sub(self.size));
        (count, [before, count + behind - self.size], before + behind + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of an input and a kernel position meets at its output exactly once.
    #[test]
    fn phases_hold_every_product_once() {
        for stride in 1..=4usize {
            for kernel in 1..=7 {
                for pad in 0..kernel {
                    let size = 5;
                    let full = (size - 1) * stride + kernel;
                    for more in 0..stride {
                        let out = (full + more).saturating_sub(2 * pad).max(1);
                        every_product(Axis { size, out, stride, kernel, pad });
                    }
                }
            }
        }
    }

    fn every_product(axis: Axis) {
        let Axis { size, out, stride, kernel, pad } = axis;
        let (count, pads, taps) = axis.window();
        assert_eq!(count + taps - 1, size + pads[0] + pads[1], "{axis:?}");
        assert!(count * stride >= out && pads.iter().all(|&p| p < taps), "{axis:?}");
        let mut found = vec![0; out * size];
        for y in 0..out {
            let (q, phase) = (y / stride, axis.phase(y % stride));
            for i in 0..taps {
                let input = (q + i).wrapping_sub(pads[0]);
                let Some(k) = phase.position(i, pads[0], stride) else { continue };
                assert!(k < kernel);
                if input < size {
                    assert_eq!(input * stride + k, y + pad, "{axis:?}");
                    found[y * size + input] += 1;
                }
            }
        }
        for (at, times) in found.iter().enumerate() {
            let (y, input) = (at / size, at % size);
            let meets = (input * stride..input * stride + kernel).contains(&(y + pad));
            assert_eq!(*times, meets as i32, "{axis:?} {y} {input}");
        }
    }
}
