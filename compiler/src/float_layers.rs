// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Last layers whose float sums the reference rounds on the way: the host computes them in ONNX Runtime's order of
//! additions (1.2x on x86 processors with AVX; other processors and releases may add in another order).

use serde::{Deserialize, Serialize};

/// A float32 convolution of `[1, c, h, w]` (or `[1, c, w]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatConv {
    /// `[oc][ic / groups][kh][kw]`
    pub weights: Vec<f32>,
    pub shape: [usize; 4],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// `[top, left, bottom, right]`
    pub pads: [usize; 4],
    pub groups: usize,
    /// One per output channel, added last.
    pub bias: Option<Vec<f32>>,
}

/// Products that ONNX Runtime's matrix product sums before it adds them to the result.
const SUM_BLOCK: usize = 128;

impl FloatConv {
    /// `shape`: of the input `x`.
    pub fn run(&self, shape: &[usize], x: &[f32]) -> Vec<f32> {
        let [h, w] = match *shape {
            [.., h, w] if shape.len() > 3 => [h, w],
            [.., w] => [1, w],
            [] => [1, 1],
        };
        let [oc, icg, kh, kw] = self.shape;
        let size = |axis: usize, n: usize, k: usize| {
            let room = n + self.pads[axis] + self.pads[axis + 2];
            (room - (k - 1) * self.dilation[axis] - 1) / self.stride[axis] + 1
        };
        let (oh, ow) = (size(0, h, kh), size(1, w, kw));
        let mut out = Vec::with_capacity(oc * oh * ow);
        for o in 0..oc {
            let first = o / (oc / self.groups) * icg;
            let kernel = &self.weights[o * icg * kh * kw..][..icg * kh * kw];
            for pixel in 0..oh * ow {
                let at = |i: usize| {
                    let (c, ky, kx) = (first + i / (kh * kw), i / kw % kh, i % kw);
                    let y = pixel / ow * self.stride[0] + ky * self.dilation[0];
                    let x = pixel % ow * self.stride[1] + kx * self.dilation[1];
                    let (y, x) = (y.wrapping_sub(self.pads[0]), x.wrapping_sub(self.pads[1]));
                    (y < h && x < w).then_some((c * h + y) * w + x)
                };
                let mut sum = 0f32;
                for (b, block) in kernel.chunks(SUM_BLOCK).enumerate() {
                    let part = block.iter().enumerate().fold(0f32, |sum, (i, &k)| {
                        let value = at(b * SUM_BLOCK + i).map_or(0.0, |i| x[i]);
                        value.mul_add(k, sum)
                    });
                    sum = if b == 0 { part } else { sum + part };
                }
                out.push(sum + self.bias.as_ref().map_or(0.0, |b| b[o]));
            }
        }
        out
    }
}

/// A float32 product of `[rows, k]` with constant weights `[k, n]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatProduct {
    /// `[k][n]`
    pub weights: Vec<f32>,
    pub k: usize,
    pub n: usize,
    /// The file has the weights as `[n][k]` and lets the product transpose them; the order of additions is another then.
    pub transposed: bool,
    /// One for each of the n results.
    pub bias: Option<Vec<f32>>,
}

impl FloatProduct {
    pub fn run(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.k;
        let row = |x: &[f32], o: usize| match (rows, self.transposed) {
            (1, false) => self.in_fours(x, o),
            (1, true) => self.in_lanes(x, o),
            _ => self.in_blocks(x, o),
        };
        x.chunks(self.k).flat_map(|x| (0..self.n).map(move |o| row(x, o))).collect()
    }

    fn weight(&self, i: usize, o: usize) -> f32 {
        self.weights[i * self.n + o]
    }

    fn bias(&self, o: usize) -> f32 {
        self.bias.as_ref().map_or(0.0, |b| b[o])
    }

    /// One row: products are rounded, the sums of four are added to the bias one after another.
    fn in_fours(&self, x: &[f32], o: usize) -> f32 {
        let (whole, rest) = x.split_at(x.len() / 4 * 4);
        let pieces = whole.chunks(4).chain(rest.chunks(2));
        let mut place = 0;
        pieces.fold(self.bias(o), |sum, piece| {
            let product = |i: usize| piece[i] * self.weight(place + i, o);
            let part = (1..piece.len()).fold(product(0), |part, i| part + product(i));
            place += piece.len();
            sum + part
        })
    }

    /// One row by transposed weights: eight sums, which are added up in three ways: for results in fours, for two of those
    /// that are left, and for the last one.
    fn in_lanes(&self, x: &[f32], o: usize) -> f32 {
        let mut l = [0f32; 8];
        for (i, &x) in x.iter().enumerate() {
            l[i % 8] += x * self.weight(i, o);
        }
        let left = self.n % 4;
        let sum = if o < self.n - left {
            (((l[0] + l[1]) + l[2]) + l[3]) + (((l[4] + l[5]) + l[6]) + l[7])
        } else if left >= 2 && o < self.n - left + 2 {
            ((l[0] + l[2]) + (l[4] + l[6])) + ((l[1] + l[3]) + (l[5] + l[7]))
        } else {
            ((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7]))
        };
        sum + self.bias(o)
    }

    /// Several rows: fused multiply-adds in blocks, the larger the fewer results there are.
    fn in_blocks(&self, x: &[f32], o: usize) -> f32 {
        let (mut block, mut wide) = (SUM_BLOCK, SUM_BLOCK);
        if self.n >= self.k {
            while block / 2 >= self.k {
                block /= 2;
            }
        } else {
            while wide > 16 && wide / 2 >= self.n {
                (block, wide) = (2 * block, wide / 2);
            }
        }
        let part = |(b, x): (usize, &[f32])| {
            x.iter().enumerate().fold(0f32, |sum, (i, x)| x.mul_add(self.weight(b * block + i, o), sum))
        };
        let mut parts = x.chunks(block).enumerate().map(part);
        let first = parts.next().unwrap_or(0.0);
        let start = self.bias.as_ref().map_or(first, |b| b[o] + first);
        parts.fold(start, |sum, part| sum + part)
    }
}

/// The average of every line of `count` values: four sums, which are added up crosswise, then the values that are left.
pub fn averages(x: &[f32], count: usize) -> Vec<f32> {
    let average = |x: &[f32]| {
        let (whole, rest) = x.split_at(count / 4 * 4);
        let mut l = [0f32; 4];
        for (i, x) in whole.iter().enumerate() {
            l[i % 4] += x;
        }
        let sum = (l[0] + l[2]) + (l[1] + l[3]);
        rest.iter().fold(sum, |sum, x| sum + x) / count as f32
    };
    x.chunks(count).map(average).collect()
}
