// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Program files: header, checksum, description.

use crate::json::{self, Json};
use crate::tensor::Tensor;
use crate::{Error, ALIGN};

const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;
const FORMAT_VERSION: u32 = 1;
const INSTRUCTION_BYTES: usize = 16;

/// A program file, parsed in place.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Hash of the configuration that it was made for.
    pub hash: u64,
    /// Bytes of the regions.
    pub bytes: Bytes,
    pub inputs: usize,
    pub outputs: usize,
    pub(crate) constants: &'a [u8],
    pub(crate) instructions: &'a [u8],
    info: Json<'a>,
}

/// Bytes of the regions of input, output and scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    pub input: usize,
    pub output: usize,
    pub scratch: usize,
}

/// Offsets of the parts in the buffer; the instructions are first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub constants: usize,
    pub input: usize,
    pub output: usize,
    pub scratch: usize,
    pub end: usize,
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | *b as u64)
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ *b as u64).wrapping_mul(0x0000_0100_0000_01b3))
}

impl<'a> Program<'a> {
    /// Reads a program file in memory: magic, version, checksum, description.
    pub fn parse(file: &'a [u8]) -> Result<Program<'a>, Error> {
        if file.len() < HEADER_BYTES + CHECKSUM_BYTES || file[..4] != *b"BWP\0" {
            return Err(Error::BadFile("it does not begin as one"));
        }
        let found = little_endian(&file[4..8]) as u32;
        if found != FORMAT_VERSION {
            return Err(Error::BadFileVersion { found });
        }
        let (body, sum) = file.split_at(file.len() - CHECKSUM_BYTES);
        if fnv(body) != little_endian(sum) {
            return Err(Error::BadFile("the checksum is wrong"));
        }
        let length = |i: usize, unit: usize| {
            usize::try_from(little_endian(&body[8 + 8 * i..][..8])).ok().and_then(|n| n.checked_mul(unit))
        };
        let mut rest = &body[HEADER_BYTES..];
        let mut part = |n: Option<usize>| {
            let n = n.filter(|n| *n <= rest.len()).ok_or(Error::BadFile("it ends too early"))?;
            let (part, tail) = rest.split_at(n);
            rest = tail;
            Ok(part)
        };
        let info = Json::new(part(length(0, 1))?);
        let constants = part(length(1, 1))?;
        let instructions = part(length(2, INSTRUCTION_BYTES))?;
        if !rest.is_empty() {
            return Err(Error::BadFile("bytes follow its end"));
        }
        let described = Program::describe(info).map_err(|_| Error::BadFile("its description cannot be"))?;
        Ok(Program { constants, instructions, ..described })
    }

    fn describe(info: Json<'a>) -> json::Result<Program<'a>> {
        let bytes = |name: &str| {
            let n = info.find(name)?.natural()?;
            if n < 1 << 32 {
                Ok(n as usize)
            } else {
                Err(json::Bad)
            }
        };
        let bytes = Bytes {
            input: bytes("input_bytes")?,
            output: bytes("output_bytes")?,
            scratch: bytes("scratch_bytes")?,
        };
        let count = |name: &str, limit: usize| {
            let mut n = 0;
            info.find(name)?.array(|_, j| {
                n += 1;
                Tensor::read(j, limit).map(|_| ())
            })?;
            Ok(n)
        };
        Ok(Program {
            hash: info.find("arch_hash")?.natural()?,
            inputs: count("inputs", bytes.input)?,
            outputs: count("outputs", bytes.output)?,
            bytes,
            constants: &[],
            instructions: &[],
            info,
        })
    }

    /// Bytes of the contiguous buffer that [`crate::Device::load`] needs.
    pub fn memory_needed(&self) -> usize {
        self.parts().end
    }

    pub(crate) fn parts(&self) -> Parts {
        let align = |n: usize| n.next_multiple_of(ALIGN);
        let constants = align(self.instructions.len());
        let input = constants + align(self.constants.len());
        let output = input + align(self.bytes.input);
        let scratch = output + align(self.bytes.output);
        Parts { constants, input, output, scratch, end: scratch + align(self.bytes.scratch) }
    }

    /// Describes an input.
    pub fn input(&self, index: usize) -> Result<Tensor<'a>, Error> {
        self.tensor("inputs", self.bytes.input, index)
    }

    /// Describes an output.
    pub fn output(&self, index: usize) -> Result<Tensor<'a>, Error> {
        self.tensor("outputs", self.bytes.output, index)
    }

    fn tensor(&self, list: &str, limit: usize, index: usize) -> Result<Tensor<'a>, Error> {
        let mut found = None;
        let read = self.info.find(list).and_then(|mut j| {
            j.array(|i, j| {
                let tensor = Tensor::read(j, limit)?;
                if i == index {
                    found = Some(tensor);
                }
                Ok(())
            })
        });
        read.map_err(|_| Error::BadFile("its description cannot be"))?;
        found.ok_or(Error::NoTensor { index })
    }
}
