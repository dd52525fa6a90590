// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the fast golden model stores tensors: codes of at most 8 bits as bytes, others as 32-bit integers.

use super::isa::LANES;
use crate::ir::{IntType, Tensor};

/// Bytes behind the last code that vectors may read.
pub const SLACK: usize = 4 * LANES;

/// The codes of a tensor.
#[derive(Clone, Debug)]
pub enum Codes {
    /// `code + offset`, then [`SLACK`] bytes.
    Bytes {
        data: Vec<u8>,
        offset: i32,
    },
    Wide(Vec<i32>),
}

/// What is added to a code to make it a byte; `None`: it needs more.
pub fn byte_offset(ty: IntType) -> Option<i32> {
    match ty.bits {
        0..=8 => Some(if ty.signed { 128 } else { 0 }),
        _ => None,
    }
}

impl Default for Codes {
    fn default() -> Codes {
        Codes::Wide(Vec::new())
    }
}

impl Codes {
    pub fn new(tensor: &Tensor) -> Codes {
        match byte_offset(tensor.ty) {
            Some(offset) => Codes::Bytes { data: vec![0; tensor.len() + SLACK], offset },
            None => Codes::Wide(vec![0; tensor.len()]),
        }
    }

    /// The bytes without those behind the last code; `None` for wide codes.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Codes::Bytes { data, .. } => Some(&data[..data.len() - SLACK]),
            Codes::Wide(_) => None,
        }
    }

    pub fn set(&mut self, codes: &[i32]) {
        match self {
            Codes::Bytes { data, offset } => {
                data.iter_mut().zip(codes).for_each(|(b, &c)| *b = (c + *offset) as u8)
            }
            Codes::Wide(data) => data.copy_from_slice(codes),
        }
    }

    pub fn get(&self) -> Vec<i32> {
        match self {
            Codes::Bytes { data, offset } => {
                data[..data.len() - SLACK].iter().map(|&b| b as i32 - offset).collect()
            }
            Codes::Wide(data) => data.clone(),
        }
    }

    /// Where a layer writes its results.
    pub fn sink(&mut self) -> Sink<'_> {
        match self {
            Codes::Bytes { data, offset } => {
                let len = data.len() - SLACK;
                Sink::Bytes(&mut data[..len], *offset)
            }
            Codes::Wide(data) => Sink::Wide(data),
        }
    }
}

/// A tensor, or whole pixels of it, to be written.
pub enum Sink<'a> {
    Bytes(&'a mut [u8], i32),
    Wide(&'a mut [i32]),
}

impl<'a> Sink<'a> {
    pub fn len(&self) -> usize {
        match self {
            Sink::Bytes(data, _) => data.len(),
            Sink::Wide(data) => data.len(),
        }
    }

    /// Parts of `size` codes, the last one perhaps shorter.
    pub fn parts(self, size: usize) -> Vec<Sink<'a>> {
        match self {
            Sink::Bytes(data, offset) => data.chunks_mut(size).map(|d| Sink::Bytes(d, offset)).collect(),
            Sink::Wide(data) => data.chunks_mut(size).map(Sink::Wide).collect(),
        }
    }

    /// Writes codes to places `at ..`, as many as `count`.
    #[inline(always)]
    pub fn store(&mut self, at: usize, codes: &[i32; LANES], count: usize) {
        match self {
            Sink::Bytes(data, offset) => {
                let byte = |c: i32| (c + *offset) as u8;
                match data[at..].first_chunk_mut::<LANES>().filter(|_| count == LANES) {
                    Some(all) => *all = codes.map(byte),
                    None => data[at..at + count].iter_mut().zip(codes).for_each(|(d, &c)| *d = byte(c)),
                }
            }
            Sink::Wide(data) => data[at..at + count].copy_from_slice(&codes[..count]),
        }
    }

    #[inline(always)]
    pub fn set(&mut self, at: usize, code: i32) {
        match self {
            Sink::Bytes(data, offset) => data[at] = (code + *offset) as u8,
            Sink::Wide(data) => data[at] = code,
        }
    }
}
