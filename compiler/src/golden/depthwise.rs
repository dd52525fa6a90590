// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators that treat every channel for itself: depthwise convolutions and sums over windows.

use super::codes::{byte_offset, Sink};
use super::conv::{channel_sums, Job};
use super::finish::{Finish, Sums};
use super::isa::{Body, Instructions, Isa, LANES};
use super::window::{Form, Geometry, Window};
use crate::ir::{Conv, Pool, Requant, Tensor};

/// A depthwise layer made ready.
#[derive(Clone, Debug)]
pub struct Depthwise {
    pub window: Window,
    finish: Finish,
    /// Bytes from the start of a window to each tap.
    taps: Vec<usize>,
    /// `[block of channels][tap]`
    weights: Vec<[i32; LANES]>,
    channels: usize,
}

/// One channel per group on both sides.
pub fn is_depthwise(o: &Conv) -> bool {
    o.groups > 1 && o.weights.shape[3] == 1 && o.weights.shape[0] == o.groups
}

/// What the two operators have in common.
struct Layer<'a> {
    geometry: Geometry,
    kernel: [usize; 2],
    dilation: [usize; 2],
    requant: &'a Requant,
    sums: Vec<((i64, i64), i64)>,
}

impl Depthwise {
    /// `None`: values that may occur do not fit 16 bits, or sums 32.
    pub fn of_conv(o: &Conv, input: &Tensor, output: &Tensor) -> Option<Depthwise> {
        let [_, kh, kw, _] = o.weights.shape;
        let layer = Layer {
            geometry: Geometry { pads: o.pads, pad_code: o.pad_code, stride: o.stride },
            kernel: [kh, kw],
            dilation: o.dilation,
            requant: &o.requant,
            sums: channel_sums(o, input.ty),
        };
        Self::new(layer, input, output, |c, tap| o.weights.data[c * kh * kw + tap])
    }

    /// A sum is a convolution with weights 1.
    pub fn of_sum(o: &Pool, q: &Requant, input: &Tensor, output: &Tensor) -> Option<Depthwise> {
        let (taps, (lo, hi)) = (o.kernel.iter().product::<usize>() as i64, input.ty.range());
        let layer = Layer {
            geometry: Geometry { pads: o.pads, pad_code: o.pad_code, stride: o.stride },
            kernel: o.kernel,
            dilation: [1, 1],
            requant: q,
            sums: vec![((taps * lo, taps * hi), taps); input.shape[2]],
        };
        Self::new(layer, input, output, |_, _| 1)
    }

    fn new(
        layer: Layer,
        input: &Tensor,
        output: &Tensor,
        weight: impl Fn(usize, usize) -> i32,
    ) -> Option<Depthwise> {
        let (form, offset) = match byte_offset(input.ty) {
            Some(offset) => (Form::Byte, offset as i64),
            None => (Form::Word, 0),
        };
        let window = Window::new(form, input, output, layer.geometry)?;
        let sums = layer.sums.iter().map(|&(range, total)| Sums { range, excess: offset * total });
        let channels = input.shape[2];
        let finish = Finish::new(layer.requant, &sums.collect::<Vec<_>>(), channels)?;
        let [kh, kw] = layer.kernel;
        let taps = (0..kh * kw)
            .map(|t| window.place(t / kw * layer.dilation[0], t % kw * layer.dilation[1]))
            .collect();
        let word = |block: usize, tap: usize| {
            std::array::from_fn(|lane| match block * LANES + lane {
                c if c < channels => weight(c, tap),
                _ => 0,
            })
        };
        let blocks = channels.div_ceil(LANES);
        let weights =
            (0..blocks).flat_map(|b| (0..kh * kw).map(move |t| word(b, t))).collect::<Vec<[i32; LANES]>>();
        let small = |w: &i32| i16::try_from(*w).is_ok();
        weights.iter().flatten().all(small).then_some(Depthwise { window, finish, taps, weights, channels })
    }

    /// Computes the pixels from `first` on that `sink` holds; `image` is the padded input.
    pub fn run(&self, with: Instructions, image: &[u8], first: usize, sink: Sink) {
        with.run(Job { layer: self, image, first, sink });
    }
}

impl Body for Job<'_, Depthwise> {
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let layer = self.layer;
        let mut starts = layer.window.starts(self.first);
        for pixel in 0..self.sink.len() / layer.channels {
            let start = starts.next();
            for (block, weights) in layer.weights.chunks_exact(layer.taps.len()).enumerate() {
                let sums = match layer.window.form {
                    Form::Byte => self.sums_of_bytes(isa, start + block * LANES, weights),
                    Form::Word => self.sums_of_words(isa, start + 2 * block * LANES, weights),
                };
                let codes = layer.finish.codes(block, &isa.lanes(sums));
                let channel = block * LANES;
                self.sink.store(
                    pixel * layer.channels + channel,
                    &codes,
                    LANES.min(layer.channels - channel),
                );
            }
        }
    }
}

impl Job<'_, Depthwise> {
    #[inline(always)]
    fn sums_of_bytes<I: Isa>(&self, isa: I, start: usize, weights: &[[i32; LANES]]) -> I::Acc {
        let at =
            |tap: usize| self.image[start + tap..].first_chunk().expect("SLACK bytes follow the last code");
        let add = |acc, (&tap, w)| isa.mac_bytes(acc, at(tap), w);
        self.layer.taps.iter().zip(weights).fold(isa.zero(), add)
    }

    #[inline(always)]
    fn sums_of_words<I: Isa>(&self, isa: I, start: usize, weights: &[[i32; LANES]]) -> I::Acc {
        let at =
            |tap: usize| self.image[start + tap..].first_chunk().expect("SLACK bytes follow the last code");
        let add = |acc, (&tap, w)| isa.mac_words(acc, at(tap), w);
        self.layer.taps.iter().zip(weights).fold(isa.zero(), add)
    }
}
