// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program: instructions, constants and how tensors lie in memory; and its file format, `.bwp`.
//!
//! A file is, little-endian: magic `BWP\0`, format version (u32), length of the description (u64), of the constants (u64),
//! number of instructions (u64), description (JSON), constants, instructions (16 bytes each), 64-bit FNV-1a of everything
//! before.

use crate::ir::IntType;
use crate::lower::layout::{to_bytes, Layout};
use hdl_gen::isa::{Instr, INSTR_BYTES};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

const MAGIC: [u8; 4] = *b"BWP\0";
/// Version of the file format.
pub const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;

/// A compiled network for one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub info: ProgramInfo,
    pub instrs: Vec<Instr>,
    /// Contents of memory region 0.
    pub constants: Vec<u8>,
}

/// Everything beside instructions and constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramInfo {
    pub name: String,
    /// Hash and name of the configuration.
    pub arch_hash: u64,
    pub arch_name: String,
    /// Bytes of region 1 (input), 2 (output) and 3 (scratch).
    pub input_bytes: usize,
    pub output_bytes: usize,
    pub scratch_bytes: usize,
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
    /// With `all_tensors`: the intermediate ones, behind the outputs in region 2.
    pub intermediates: Vec<TensorInfo>,
    pub layers: Vec<LayerInfo>,
    #[serde(default)]
    pub places: Vec<Place>,
}

/// A tensor in a memory region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorInfo {
    pub name: String,
    /// Number of the tensor in the graph.
    pub id: usize,
    /// `[h, w, c]`.
    pub shape: [usize; 3],
    pub ty: IntType,
    /// Byte offset in the region.
    pub offset: usize,
    pub form: TensorForm,
    /// An input that is stored in another arrangement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gather: Option<Gather>,
    /// What codes mean, where the model has one scale for all of them: for drivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quant: Option<Quant>,
}

/// Real number of a code: `scale * (code - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quant {
    pub scale: f64,
    pub zero_point: i32,
}

/// How an input `[h, w, c]` is stored: a stored pixel holds, for every row offset, for every column offset, the channels of one
/// input pixel. Outside the input is `pad_code`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gather {
    pub rows: GatherAxis,
    pub cols: GatherAxis,
    pub pad_code: i32,
}

/// Stored position `i`, offset `k` is input position `i / turns * outer + i % turns * inner + origin + offsets[k]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatherAxis {
    pub turns: usize,
    pub inner: usize,
    pub outer: usize,
    pub origin: isize,
    pub offsets: Vec<usize>,
}

/// How the values of a tensor are written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum TensorForm {
    /// Bit-planes in bank words.
    Planes(Layout),
    /// 32-bit values; `pitch` values from one pixel of `channels` channels to the next.
    Int32 { pitch: usize, channels: usize },
}

/// A layer as the report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerInfo {
    /// Number of its `post.mark`.
    pub mark: u16,
    pub name: String,
    pub op: String,
    /// `[h, w, c]` of the first input and of the output.
    pub shape_in: [usize; 3],
    pub shape_out: [usize; 3],
    pub act_bits: u32,
    pub wgt_bits: u32,
    pub macs: u64,
    /// Passes, `post`s and streaming cycles (pixels x steps) in the program.
    pub passes: usize,
    pub posts: usize,
    pub stream_cycles: u64,
    /// Instructions of the layer in each queue; a queue holds them layer after layer.
    #[serde(default)]
    pub instrs: [usize; 4],
}

/// Where a tensor, or a part of one, lies while the machine needs it; for the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub name: String,
    /// `[h, w, c]` of the tensor.
    pub shape: [usize; 3],
    pub ty: IntType,
    pub kind: PlaceKind,
    /// First address and length: plane-words in the banks; bytes in a memory region.
    pub first: usize,
    pub length: usize,
    /// First and last layer (index in `layers`) that write or read it there.
    pub layers: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// A whole tensor in the banks.
    Bank,
    /// Rows of a tensor that are in the banks for one layer.
    Rows,
    /// In memory: what the host writes, what it reads, what is the machine's own.
    Input,
    Output,
    Scratch,
}

/// What is wrong with a program file or with the data for a program.
#[derive(Clone, Debug, PartialEq)]
pub enum ProgramError {
    /// The file cannot be read or written.
    Io(String),
    /// Not a program file, or damaged.
    Format(String),
    /// Another version of the format.
    Version { found: u32 },
    /// A tensor of another length than the program's.
    Length { tensor: String, expected: usize, found: usize },
    /// An input code outside its type.
    Code { tensor: String, index: usize, value: i32 },
    /// Fewer or more input tensors than the program has.
    Count { expected: usize, found: usize },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ProgramError::*;
        match self {
            Io(why) => write!(f, "{why}"),
            Format(why) => write!(f, "not a usable program file: {why}"),
            Version { found } => {
                write!(
                    f,
                    "program file of format {found}; this version reads {FORMAT_VERSION}, compile again"
                )
            }
            Length { tensor, expected, found } => {
                write!(f, "tensor `{tensor}` has {expected} values, {found} were given")
            }
            Code { tensor, index, value } => {
                write!(f, "value {value} at {index} is no code of tensor `{tensor}`")
            }
            Count { expected, found } => write!(f, "the program has {expected} inputs, {found} were given"),
        }
    }
}
impl std::error::Error for ProgramError {}

impl GatherAxis {
    /// Input position of offset `k` of stored position `i`, if it lies in an input of `size`.
    fn at(&self, i: usize, k: usize, size: usize) -> Option<usize> {
        let start = (i / self.turns * self.outer + i % self.turns * self.inner) as isize + self.origin;
        usize::try_from(start + self.offsets[k] as isize).ok().filter(|p| *p < size)
    }

    /// Whether positions below 2^24 can be computed.
    fn is_small(&self) -> bool {
        let small = |n: usize| n < 1 << 24;
        let numbers = [self.inner, self.outer, self.origin.unsigned_abs()];
        self.turns > 0 && numbers.into_iter().chain(self.offsets.iter().copied()).all(small)
    }
}

impl Gather {
    /// The stored codes `[h', w', c']` of an input's codes.
    pub fn apply(&self, codes: &[i32], input: [usize; 3], stored: [usize; 3]) -> Vec<i32> {
        let [h, w, c] = input;
        let mut out = Vec::with_capacity(stored.iter().product());
        for y in 0..stored[0] {
            for x in 0..stored[1] {
                for row in (0..self.rows.offsets.len()).map(|k| self.rows.at(y, k, h)) {
                    for col in (0..self.cols.offsets.len()).map(|k| self.cols.at(x, k, w)) {
                        match row.zip(col) {
                            Some((row, col)) => out.extend(&codes[(row * w + col) * c..][..c]),
                            None => out.extend(std::iter::repeat_n(self.pad_code, c)),
                        }
                    }
                }
            }
        }
        out
    }

    fn check(&self, channels: usize, stored: usize) -> bool {
        let taps = self.rows.offsets.len().checked_mul(self.cols.offsets.len());
        taps.and_then(|t| t.checked_mul(channels)) == Some(stored)
            && self.rows.is_small()
            && self.cols.is_small()
    }
}

impl TensorInfo {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match &self.form {
            TensorForm::Planes(l) => l.size() / 4 * crate::lower::layout::beats_per_bank_word(l.lanes) * 8,
            TensorForm::Int32 { pitch, channels } => self.len() / channels * pitch * 4,
        }
    }

    /// Values from the bytes of the region; bytes beyond its end count as 0.
    fn unpack(&self, region: &[u8]) -> Vec<i32> {
        let word = |i: usize, n: usize| -> u64 {
            (0..n)
                .map(|b| (region.get(self.offset + i * n + b).copied().unwrap_or(0) as u64) << (8 * b))
                .sum()
        };
        match &self.form {
            TensorForm::Planes(l) => {
                let words: Vec<u64> = (0..self.bytes() / 8).map(|i| word(i, 8)).collect();
                l.unpack(&words)
            }
            TensorForm::Int32 { pitch, channels: c } => {
                (0..self.len()).map(|i| word(i / c * pitch + i % c, 4) as u32 as i32).collect()
            }
        }
    }

    fn check(&self, codes: &[i32]) -> Result<(), ProgramError> {
        if codes.len() != self.len() {
            let (expected, found) = (self.len(), codes.len());
            return Err(ProgramError::Length { tensor: self.name.clone(), expected, found });
        }
        match codes.iter().position(|c| !self.ty.contains(*c as i64)) {
            Some(index) => Err(ProgramError::Code { tensor: self.name.clone(), index, value: codes[index] }),
            None => Ok(()),
        }
    }
}

impl Program {
    /// Region 1 for the input tensors, each `[y][x][c]`.
    pub fn pack_input(&self, inputs: &[Vec<i32>]) -> Result<Vec<u8>, ProgramError> {
        if inputs.len() != self.info.inputs.len() {
            return Err(ProgramError::Count { expected: self.info.inputs.len(), found: inputs.len() });
        }
        let mut region = vec![0u8; self.info.input_bytes];
        for (t, codes) in self.info.inputs.iter().zip(inputs) {
            t.check(codes)?;
            let bytes = match &t.form {
                TensorForm::Planes(l) => match &t.gather {
                    Some(g) => to_bytes(&l.pack(&g.apply(codes, t.shape, l.shape))),
                    None => to_bytes(&l.pack(codes)),
                },
                TensorForm::Int32 { .. } => codes.iter().flat_map(|c| c.to_le_bytes()).collect(),
            };
            region[t.offset..][..bytes.len()].copy_from_slice(&bytes);
        }
        Ok(region)
    }

    /// The graph's outputs from region 2.
    pub fn unpack_output(&self, region: &[u8]) -> Vec<Vec<i32>> {
        self.info.outputs.iter().map(|t| t.unpack(region)).collect()
    }

    /// Intermediate tensors from region 2, with their names; empty unless compiled with `all_tensors`.
    pub fn unpack_intermediates(&self, region: &[u8]) -> Vec<(&TensorInfo, Vec<i32>)> {
        self.info.intermediates.iter().map(|t| (t, t.unpack(region))).collect()
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let info = serde_json::to_vec(&self.info).expect("plain data serializes");
        let mut out = MAGIC.to_vec();
        out.extend(FORMAT_VERSION.to_le_bytes());
        for n in [info.len(), self.constants.len(), self.instrs.len()] {
            out.extend((n as u64).to_le_bytes());
        }
        out.extend(info);
        out.extend(&self.constants);
        self.instrs.iter().for_each(|i| out.extend(i.to_bytes()));
        out.extend(fnv(&out).to_le_bytes());
        out
    }

    /// Reads a file's bytes. Errors: wrong magic, version, lengths, checksum or contents.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program, ProgramError> {
        let bad = |why: &str| ProgramError::Format(why.into());
        if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || bytes[..4] != MAGIC {
            return Err(bad("it does not begin as one"));
        }
        let version = u32::from_le_bytes(array(&bytes[4..8]));
        if version != FORMAT_VERSION {
            return Err(ProgramError::Version { found: version });
        }
        let (body, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if fnv(body) != u64::from_le_bytes(array(sum)) {
            return Err(bad("the checksum is wrong"));
        }
        let length = |i: usize| usize::try_from(u64::from_le_bytes(array(&body[8 + 8 * i..][..8]))).ok();
        let lengths = [length(0), length(1), length(2).and_then(|n| n.checked_mul(INSTR_BYTES as usize))];
        let mut rest = &body[HEADER_BYTES..];
        let mut parts = Vec::new();
        for n in lengths {
            let n = n.filter(|n| *n <= rest.len()).ok_or_else(|| bad("it ends too early"))?;
            let (part, tail) = rest.split_at(n);
            parts.push(part);
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(bad("bytes follow its end"));
        }
        let info: ProgramInfo = serde_json::from_slice(parts[0]).map_err(|e| bad(&e.to_string()))?;
        info.check().map_err(|why| bad(&why))?;
        let instrs =
            parts[2].chunks_exact(INSTR_BYTES as usize).map(|c| Instr::from_bytes(array(c))).collect();
        Ok(Program { info, instrs, constants: parts[1].to_vec() })
    }

    /// Writes a file.
    pub fn write(&self, path: &Path) -> Result<(), ProgramError> {
        std::fs::write(path, self.to_bytes())
            .map_err(|e| ProgramError::Io(format!("{}: {e}", path.display())))
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Program, ProgramError> {
        let bytes = std::fs::read(path).map_err(|e| ProgramError::Io(format!("{}: {e}", path.display())))?;
        Program::from_bytes(&bytes)
    }
}

impl ProgramInfo {
    /// What packing and unpacking rely on.
    fn check(&self) -> Result<(), String> {
        let input = self.inputs.iter().map(|t| (t, self.input_bytes));
        let output = self.outputs.iter().chain(&self.intermediates).map(|t| (t, self.output_bytes));
        for (t, limit) in input.chain(output) {
            let small = |n: usize| (1..1 << 24).contains(&n);
            let elements = |shape: &[usize; 3]| {
                shape.iter().try_fold(1usize, |a, n| a.checked_mul(*n)).filter(|n| *n < 1 << 32)
            };
            if !t.shape.iter().all(|n| small(*n)) || elements(&t.shape).is_none() {
                return Err(format!("tensor `{}` has an impossible shape", t.name));
            }
            let form = match &t.form {
                TensorForm::Planes(l) => {
                    (1..=16).contains(&l.planes)
                        && l.slots >= l.planes
                        && l.slots <= 16
                        && (1..=32).contains(&l.lanes)
                        && l.shape.iter().all(|n| small(*n))
                        && elements(&l.shape).is_some_and(|n| match &t.gather {
                            None => elements(&t.shape) == Some(n),
                            Some(g) => g.check(t.shape[2], l.shape[2]),
                        })
                }
                TensorForm::Int32 { pitch, channels } => {
                    small(*pitch) && (1..=*pitch).contains(channels) && t.len() % channels == 0
                }
            };
            if !form {
                return Err(format!("tensor `{}` has an impossible form", t.name));
            }
            if t.offset.checked_add(t.bytes()).is_none_or(|end| end > limit) {
                return Err(format!("tensor `{}` lies outside its region", t.name));
            }
        }
        Ok(())
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut N bytes")
}

/// 64-bit FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ *b as u64).wrapping_mul(0x0000_0100_0000_01b3))
}
