// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Convolutions as products of pixels and blocks of output channels, straight from the padded image.
//!
//! The values of one kernel row that lie beside each other in memory are a *run*. For each run the kernel takes four bytes
//! (or two words) of the input at a time, the same for all lanes, times one [`Word`] per 16 output channels, for several
//! pixels at once, so that the sums stay in registers.

use super::codes::{byte_offset, Sink};
use super::finish::{Finish, Sums};
use super::isa::{Body, Instructions, Isa, Word, LANES};
use super::window::{Form, Geometry, Window};
use crate::ir::{Conv, IntType, Tensor};
use std::ops::Range;

/// A convolution made ready.
#[derive(Clone, Debug)]
pub struct Packed {
    pub window: Window,
    /// Instructions for the window's form.
    with: Instructions,
    finish: Finish,
    groups: Vec<Group>,
    /// Bytes from the start of a window to each of its runs.
    runs: Vec<usize>,
    /// Steps of four bytes per run.
    steps: usize,
    /// Output channels.
    channels: usize,
}

#[derive(Clone, Debug)]
struct Group {
    /// Bytes from the start of a window to the group's first channel.
    offset: usize,
    /// Output channels.
    channels: Range<usize>,
    panels: Vec<Panel>,
}

/// The weights of 1, 2 or 4 blocks of output channels: `[run][step][block]`.
#[derive(Clone, Debug)]
struct Panel {
    blocks: usize,
    words: Vec<Word>,
}

/// Accumulators of output channel `c`: smallest and largest, with the sum of the weights.
pub fn channel_sums(o: &Conv, input: IntType) -> Vec<((i64, i64), i64)> {
    let (lo, hi) = input.range();
    let taps = o.weights.shape[1..].iter().product::<usize>().max(1);
    let one = |w: &[i32]| {
        let part = |sign: i64| w.iter().map(|&w| w as i64).filter(|w| w * sign > 0).sum::<i64>();
        let (up, down) = (part(1), part(-1));
        ((up * lo + down * hi, up * hi + down * lo), up + down)
    };
    o.weights.data.chunks(taps).map(one).collect()
}

impl Packed {
    /// `None`: values that may occur do not fit 8 or 16 bits, or sums 32.
    pub fn new(o: &Conv, input: &Tensor, output: &Tensor, with: Instructions) -> Option<Packed> {
        let form = form(o, input.ty, with)?;
        let with = if form == Form::Byte { with } else { with.of_words() };
        let geometry = Geometry { pads: o.pads, pad_code: o.pad_code, stride: o.stride };
        let window = Window::new(form, input, output, geometry)?;
        let offset = if form == Form::Byte { byte_offset(input.ty)? as i64 } else { 0 };
        let sums = channel_sums(o, input.ty);
        let sums =
            sums.iter().map(|&(range, total)| Sums { range, excess: offset * total }).collect::<Vec<_>>();
        let [oc, kh, kw, icg] = o.weights.shape;
        let per_group = oc / o.groups;
        let finish = Finish::new(&o.requant, &sums, per_group)?;
        let whole = o.dilation[1] == 1 && o.groups == 1;
        let run = if whole { kw * icg } else { icg };
        let place = |k: usize| match whole {
            true => window.place(k * o.dilation[0], 0),
            false => window.place(k / kw * o.dilation[0], k % kw * o.dilation[1]),
        };
        let runs = (0..if whole { kh } else { kh * kw }).map(place).collect::<Vec<_>>();
        let steps = (run * form.size()).div_ceil(4);
        let pack = Pack { conv: o, form, run, runs: runs.len(), steps };
        let group = |g: usize| Group {
            offset: g * icg * form.size(),
            channels: g * per_group..(g + 1) * per_group,
            panels: pack.panels(g * per_group, per_group, with.wide()),
        };
        let groups = (0..o.groups).map(group).collect();
        Some(Packed { window, with, finish, groups, runs, steps, channels: oc })
    }

    /// Computes the pixels from `first` on that `sink` holds; `image` is the padded input.
    pub fn run(&self, image: &[u8], first: usize, sink: Sink) {
        self.with.run(Job { layer: self, image, first, sink });
    }
}

/// The form that this convolution needs.
fn form(o: &Conv, input: IntType, with: Instructions) -> Option<Form> {
    let all = |lo: i32, hi: i32| o.weights.data.iter().all(|w| (lo..=hi).contains(w));
    match byte_offset(input) {
        Some(_) if with.bytes() && all(-128, 127) => Some(Form::Byte),
        _ if all(i16::MIN as i32, i16::MAX as i32) => Some(Form::Word),
        _ => None,
    }
}

/// What the order of the weights depends on.
struct Pack<'a> {
    conv: &'a Conv,
    form: Form,
    /// Values of a run.
    run: usize,
    runs: usize,
    steps: usize,
}

impl Pack<'_> {
    /// The weights of output channels `first .. first + count`.
    fn panels(&self, first: usize, count: usize, wide: bool) -> Vec<Panel> {
        let (mut at, blocks) = (0, count.div_ceil(LANES));
        let mut panels = Vec::new();
        while at < blocks {
            let n = match blocks - at {
                4.. if wide => 4,
                2.. => 2,
                _ => 1,
            };
            panels.push(self.panel(first, first + count, at, n));
            at += n;
        }
        panels
    }

    fn panel(&self, first: usize, end: usize, block: usize, blocks: usize) -> Panel {
        let mut words = Vec::with_capacity(self.runs * self.steps * blocks);
        for run in 0..self.runs {
            for step in 0..self.steps {
                for b in block..block + blocks {
                    words.push(self.word(run, step, first + b * LANES..end));
                }
            }
        }
        Panel { blocks, words }
    }

    fn word(&self, run: usize, step: usize, channels: Range<usize>) -> Word {
        let mut word = [0; 4 * LANES];
        let values = 4 / self.form.size();
        let taps = self.runs * self.run;
        for (lane, c) in channels.take(LANES).enumerate() {
            for i in 0..values.min(self.run - step * values) {
                let w = self.conv.weights.data[c * taps + run * self.run + step * values + i];
                let at = 4 * lane + i * self.form.size();
                word[at..at + self.form.size()].copy_from_slice(&w.to_le_bytes()[..self.form.size()]);
            }
        }
        word
    }
}

/// Some pixels of a layer, from `first` on; `image` is the padded input.
pub(super) struct Job<'a, Layer> {
    pub layer: &'a Layer,
    pub image: &'a [u8],
    pub first: usize,
    pub sink: Sink<'a>,
}

impl Body for Job<'_, Packed> {
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let mut finish = 0;
        for group in &self.layer.groups {
            let Range { start: mut first, end } = group.channels;
            for panel in &group.panels {
                let place = Place { offset: group.offset, finish, first, end };
                match (panel.blocks, I::WIDE) {
                    (4, _) => self.sweep::<I, 4, 4>(isa, panel, place),
                    (2, true) => self.sweep::<I, 8, 2>(isa, panel, place),
                    (2, false) => self.sweep::<I, 3, 2>(isa, panel, place),
                    (_, true) => self.sweep::<I, 12, 1>(isa, panel, place),
                    (_, false) => self.sweep::<I, 6, 1>(isa, panel, place),
                }
                finish += panel.blocks;
                first += panel.blocks * LANES;
            }
        }
    }
}

/// Where a panel belongs.
#[derive(Clone, Copy)]
struct Place {
    /// Bytes from the start of a window.
    offset: usize,
    /// Block of the requantization.
    finish: usize,
    /// Output channels that it has.
    first: usize,
    end: usize,
}

impl Job<'_, Packed> {
    /// All pixels times one panel of N blocks, M pixels at a time.
    #[inline(always)]
    fn sweep<I: Isa, const M: usize, const N: usize>(&mut self, isa: I, panel: &Panel, place: Place) {
        let pixels = self.sink.len() / self.layer.channels;
        let words = panel.words.as_chunks::<N>().0;
        let mut starts = self.layer.window.starts(self.first);
        let mut pixel = 0;
        while pixel < pixels {
            let mut next = || starts.next() + place.offset;
            if pixels - pixel < M.div_ceil(3) {
                self.tile::<I, 1, N>(isa, words, place, pixel, [next()], 1);
                pixel += 1;
            } else {
                let count = M.min(pixels - pixel);
                let mut at = 0;
                let windows = std::array::from_fn(|m| {
                    at = if m < count { next() } else { at };
                    at
                });
                self.tile::<I, M, N>(isa, words, place, pixel, windows, count);
                pixel += count;
            }
        }
    }

    /// The first `count` of M pixels, whose windows are at `starts`.
    #[inline(always)]
    fn tile<I: Isa, const M: usize, const N: usize>(
        &mut self,
        isa: I,
        words: &[[Word; N]],
        place: Place,
        pixel: usize,
        starts: [usize; M],
        count: usize,
    ) {
        let (conv, steps) = (self.layer, self.layer.steps);
        let mut sums = [[isa.zero(); N]; M];
        for (&run, words) in conv.runs.iter().zip(words.chunks_exact(steps)) {
            let inputs = starts.map(|s| &self.image[s + run..][..4 * steps].as_chunks::<4>().0[..steps]);
            for (step, w) in words.iter().enumerate() {
                for (sums, input) in sums.iter_mut().zip(&inputs) {
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = isa.dot(*sum, input[step], w);
                    }
                }
            }
        }
        for (m, sums) in sums.iter().enumerate().take(count) {
            for (n, &sums) in sums.iter().enumerate() {
                let codes = conv.finish.codes(place.finish + n, &isa.lanes(sums));
                let first = place.first + n * LANES;
                self.sink.store((pixel + m) * conv.channels + first, &codes, LANES.min(place.end - first));
            }
        }
    }
}
