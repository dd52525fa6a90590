// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The padded image that a convolution (or a sum over windows) reads, as bytes or 16-bit words.

use super::codes::{byte_offset, Codes, SLACK};
use crate::ir::Tensor;

/// How one value of the padded image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One byte, `code + offset`, as in [`Codes::Bytes`].
    Byte,
    /// The code as int16, little-endian.
    Word,
}

impl Form {
    pub fn size(self) -> usize {
        match self {
            Form::Byte => 1,
            Form::Word => 2,
        }
    }
}

/// Places of a window operator's pixels in its padded input.
#[derive(Clone, Debug)]
pub struct Window {
    pub form: Form,
    /// `[h, w, c]` of the input.
    input: [usize; 3],
    /// `[top, left, bottom, right]`
    pads: [usize; 4],
    pad_code: i32,
    stride: [usize; 2],
    /// Columns of the output.
    columns: usize,
}

/// Walks along the windows of an image.
#[derive(Clone, Copy)]
pub struct Starts {
    at: usize,
    /// Windows left in the row.
    left: usize,
    /// Bytes from one window to the next.
    step: usize,
    /// Bytes from behind the last window of a row to the next row's first, modulo 2^64.
    turn: usize,
    columns: usize,
}

impl Starts {
    /// The byte at which the window starts; goes on to the next one.
    #[inline(always)]
    pub fn next(&mut self) -> usize {
        let at = self.at;
        self.at += self.step;
        self.left -= 1;
        if self.left == 0 {
            self.left = self.columns;
            self.at = self.at.wrapping_add(self.turn);
        }
        at
    }
}

/// A window operator's own numbers.
pub struct Geometry {
    pub pads: [usize; 4],
    pub pad_code: i32,
    pub stride: [usize; 2],
}

impl Window {
    /// `None`: a code of the input's type is no value of the form.
    pub fn new(form: Form, input: &Tensor, output: &Tensor, g: Geometry) -> Option<Window> {
        let (lo, hi) = input.ty.range();
        match form {
            Form::Byte => byte_offset(input.ty).map(|_| ())?,
            Form::Word => (lo >= i16::MIN as i64 && hi <= i16::MAX as i64).then_some(())?,
        }
        let columns = output.shape[1];
        let Geometry { pads, pad_code, stride } = g;
        Some(Window { form, input: input.shape, pads, pad_code, stride, columns })
    }

    /// The padded image is the tensor as it is stored.
    pub fn is_plain(&self) -> bool {
        self.form == Form::Byte && self.pads == [0; 4]
    }

    fn padded_columns(&self) -> usize {
        self.input[1] + self.pads[1] + self.pads[3]
    }

    /// Bytes of the padded image.
    pub fn len(&self) -> usize {
        let rows = self.input[0] + self.pads[0] + self.pads[2];
        rows * self.padded_columns() * self.input[2] * self.form.size()
    }

    /// The bytes at which the windows of output pixels `first ..` start, in order.
    #[inline(always)]
    pub fn starts(&self, first: usize) -> Starts {
        let (y, x) = (first / self.columns, first % self.columns);
        let line = self.place(self.stride[0], 0);
        let step = self.place(0, self.stride[1]);
        Starts {
            at: y * line + x * step,
            left: self.columns - x,
            step,
            turn: line.wrapping_sub(self.columns * step),
            columns: self.columns,
        }
    }

    /// The byte of row `y`, column `x` of the padded image.
    pub fn place(&self, y: usize, x: usize) -> usize {
        (y * self.padded_columns() + x) * self.input[2] * self.form.size()
    }

    /// The padded image with its border, to be filled by [`Window::fill`]; empty where none is needed.
    pub fn buffer(&self, offset: i32) -> Vec<u8> {
        if self.is_plain() {
            return Vec::new();
        }
        let values = self.len() / self.form.size();
        let mut data = match self.form {
            Form::Byte => vec![(self.pad_code + offset) as u8; values],
            Form::Word => (self.pad_code as i16).to_le_bytes().repeat(values),
        };
        data.resize(self.len() + SLACK, 0);
        data
    }

    /// Copies the codes into their places.
    pub fn fill(&self, codes: &Codes, buffer: &mut [u8]) {
        let line = self.input[1] * self.input[2];
        for y in 0..self.input[0] {
            let from = y * line..(y + 1) * line;
            let to = self.place(y + self.pads[0], self.pads[1]);
            let to = &mut buffer[to..to + line * self.form.size()];
            match (codes, self.form) {
                (Codes::Bytes { data, .. }, Form::Byte) => to.copy_from_slice(&data[from]),
                (Codes::Bytes { data, offset }, Form::Word) => {
                    words(to, data[from].iter().map(|&b| (b as i32 - offset) as i16))
                }
                (Codes::Wide(data), _) => words(to, data[from].iter().map(|&v| v as i16)),
            }
        }
    }
}

fn words(to: &mut [u8], values: impl Iterator<Item = i16>) {
    to.as_chunks_mut::<2>().0.iter_mut().zip(values).for_each(|(word, v)| *word = v.to_le_bytes());
}
