// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators on bytes that are a lookup, a comparison or a sum of two lookups.

use super::codes::{byte_offset, Codes, Sink};
use super::finish::{part_table, Finish, Sums};
use super::isa::{Body, Instructions, Isa, LANES};
use crate::ir::{Add, IntType, Pool, Requant, Tensor};

/// A function of one byte: one table for all channels, or one per channel.
#[derive(Clone, Debug)]
pub struct Lookup {
    tables: Vec<Vec<i32>>,
}

/// The code that a byte stands for; `None`: the type has no such code.
fn code_of(ty: IntType) -> impl Fn(u8) -> Option<i64> {
    let offset = byte_offset(ty).unwrap_or(0) as i64;
    move |byte| Some(byte as i64 - offset).filter(|&code| ty.contains(code))
}

impl Lookup {
    /// `q`: `None` copies the codes. `None`: the tensor is not stored as bytes, or a code does not fit.
    pub fn new(q: Option<&Requant>, input: IntType) -> Option<Lookup> {
        byte_offset(input)?;
        let code = code_of(input);
        let entry = |channel: usize, byte: u8| match (code(byte), q) {
            (None, _) => Some(0),
            (Some(code), None) => Some(code as i32),
            (Some(code), Some(q)) => q.apply(code, channel).ok(),
        };
        let table = |channel| (0..=255).map(|byte| entry(channel, byte)).collect::<Option<Vec<i32>>>();
        let tables = (0..q.map_or(1, |q| q.channels.len())).map(table).collect::<Option<_>>()?;
        Some(Lookup { tables })
    }

    /// The codes of the bytes of one pixel, to places `at ..`.
    pub fn pixel(&self, bytes: &[u8], at: usize, sink: &mut Sink) {
        match &self.tables[..] {
            [table] => bytes.iter().enumerate().for_each(|(c, &b)| sink.set(at + c, table[b as usize])),
            tables => {
                let each = bytes.iter().zip(tables).enumerate();
                each.for_each(|(c, (&b, table))| sink.set(at + c, table[b as usize]));
            }
        }
    }
}

/// An addition: both parts by table, then the requantization of their sum.
#[derive(Clone, Debug)]
pub struct Sum {
    a: Vec<i32>,
    b: Vec<i32>,
    finish: Finish,
}

impl Sum {
    /// `None`: an operand is not stored as bytes, or a value may not fit 32 bits.
    pub fn new(o: &Add, a: IntType, b: IntType) -> Option<Sum> {
        byte_offset(a).and(byte_offset(b))?;
        let rounding = o.sum.rounding;
        let ta = part_table(&o.params_a, rounding, o.left_shift, code_of(a))?;
        let tb = part_table(&o.params_b, rounding, o.left_shift, code_of(b))?;
        let ends = |t: &[i32]| t.iter().fold((0, 0), |(lo, hi), &v| (v.min(lo), v.max(hi)));
        let (ea, eb) = (ends(&ta), ends(&tb));
        let range = (ea.0 as i64 + eb.0 as i64, ea.1 as i64 + eb.1 as i64);
        let finish = Finish::new(&o.sum, &[Sums { range, excess: 0 }], 1)?;
        Some(Sum { a: ta, b: tb, finish })
    }

    pub fn run(&self, with: Instructions, a: &[u8], b: &[u8], sink: Sink) {
        with.run(SumJob { sum: self, a, b, sink });
    }
}

struct SumJob<'a> {
    sum: &'a Sum,
    a: &'a [u8],
    b: &'a [u8],
    sink: Sink<'a>,
}

impl Body for SumJob<'_> {
    #[inline(always)]
    fn run<I: Isa>(mut self, _: I) {
        let all = self.a.chunks(LANES).zip(self.b.chunks(LANES)).enumerate();
        for (block, (a, b)) in all {
            let mut sums = [0; LANES];
            for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum = self.sum.a[a as usize].wrapping_add(self.sum.b[b as usize]);
            }
            self.sink.store(block * LANES, &self.sum.finish.codes(0, &sums), a.len());
        }
    }
}

/// The largest code of every window, on bytes (whose order is that of the codes).
pub struct Maximum<'a> {
    pub op: &'a Pool,
    pub input: &'a Tensor,
    pub codes: &'a Codes,
    pub first: usize,
    /// Columns of the output.
    pub columns: usize,
    pub out: &'a mut [u8],
}

impl Body for Maximum<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let Codes::Bytes { data, offset } = self.codes else { return };
        let ([h, w, channels], o) = (self.input.shape, self.op);
        let pad = (o.pad_code + offset) as u8;
        for (i, out) in self.out.chunks_exact_mut(channels).enumerate() {
            let (y, x) = ((self.first + i) / self.columns, (self.first + i) % self.columns);
            out.fill(0);
            for k in 0..o.kernel[0] * o.kernel[1] {
                let iy = (y * o.stride[0] + k / o.kernel[1]).wrapping_sub(o.pads[0]);
                let ix = (x * o.stride[1] + k % o.kernel[1]).wrapping_sub(o.pads[1]);
                if iy < h && ix < w {
                    let codes = &data[(iy * w + ix) * channels..][..channels];
                    out.iter_mut().zip(codes).for_each(|(o, &v)| *o = v.max(*o));
                } else {
                    out.iter_mut().for_each(|o| *o = pad.max(*o));
                }
            }
        }
    }
}
