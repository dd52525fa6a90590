// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Inputs and outputs: their description, and how codes lie in memory.

use crate::json::{Bad, Json, Result};
use crate::Error;

/// Most offsets of an axis in an arrangement that the driver takes.
pub const MAX_OFFSETS: usize = 64;
/// Sizes below this can be multiplied without a thought.
const SMALL: u64 = 1 << 24;
const MAX_ELEMENTS: u64 = 1 << 31;
const MAX_BITS: u32 = 32;

/// Height, width, channels.
pub type Shape = [usize; 3];

/// Real number of a code: `scale * (code - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    pub scale: f64,
    pub zero_point: i32,
}

/// An input or output.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// UTF-8, JSON escapes unresolved.
    pub name: &'a [u8],
    /// Values are in this order.
    pub shape: Shape,
    pub bits: u32,
    pub signed: bool,
    /// Quantized floats of TFLite models have it.
    pub quant: Option<Quant>,
    /// Byte offset in the region.
    pub offset: usize,
    pub form: Form,
    pub gather: Option<Gather>,
}

/// How the values of a tensor are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bit-planes in bank words of four plane-words of `lanes` bits.
    Planes { stored: Shape, planes: u32, slots: usize, lanes: usize },
    /// 32-bit values; `pitch` values from one pixel of `channels` channels to the next.
    Int32 { pitch: usize, channels: usize },
}

/// An input in another arrangement: a stored pixel holds, for every row offset, for every column offset, the channels of one
/// input pixel; `pad_code` outside.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    pub rows: Axis,
    pub columns: Axis,
    pub pad_code: i32,
}

/// Stored position `i`, offset `k` is input position `i / turns * outer + i % turns * inner + origin + offsets[k]`.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub turns: usize,
    pub inner: usize,
    pub outer: usize,
    pub origin: i64,
    pub offsets: [u32; MAX_OFFSETS],
    pub count: usize,
}

impl Axis {
    /// Input position of offset `k` of stored position `i`, if it lies in an input of `size`.
    fn at(&self, i: usize, k: usize, size: usize) -> Option<usize> {
        let start = (i / self.turns * self.outer + i % self.turns * self.inner) as i64;
        let at = start + self.origin + self.offsets[k] as i64;
        usize::try_from(at).ok().filter(|p| *p < size)
    }

    fn read(j: &mut Json) -> Result<Axis> {
        let mut a = Axis { turns: 0, inner: 0, outer: 0, origin: 0, offsets: [0; MAX_OFFSETS], count: 0 };
        j.object(|key, j| {
            match key {
                b"turns" => a.turns = size(j)?,
                b"inner" => a.inner = size(j)?,
                b"outer" => a.outer = size(j)?,
                b"origin" => a.origin = j.integer().and_then(|n| small(n.unsigned_abs()).map(|_| n))?,
                b"offsets" => {
                    return j.array(|i, j| {
                        *a.offsets.get_mut(i).ok_or(Bad)? = size(j)? as u32;
                        a.count = i + 1;
                        Ok(())
                    })
                }
                _ => return j.skip(),
            }
            Ok(())
        })?;
        if a.turns == 0 {
            Err(Bad)
        } else {
            Ok(a)
        }
    }
}

fn small(n: u64) -> Result<u64> {
    if n < SMALL {
        Ok(n)
    } else {
        Err(Bad)
    }
}

fn size(j: &mut Json) -> Result<usize> {
    Ok(small(j.natural()?)? as usize)
}

fn shape(j: &mut Json) -> Result<Shape> {
    let (mut shape, mut n) = ([0; 3], 0);
    j.array(|i, j| {
        *shape.get_mut(i).ok_or(Bad)? = size(j)?;
        n = i + 1;
        Ok(())
    })?;
    if n == 3 {
        Ok(shape)
    } else {
        Err(Bad)
    }
}

/// Number of elements of a sensible shape.
fn elements(shape: &Shape) -> Result<u64> {
    let n = shape.iter().try_fold(1u64, |n, s| n.checked_mul(*s as u64));
    n.filter(|n| (1..MAX_ELEMENTS).contains(n)).ok_or(Bad)
}

fn beats_per_bank_word(lanes: usize) -> usize {
    (4 * lanes).div_ceil(64)
}

impl Form {
    fn read(j: &mut Json) -> Result<Form> {
        let mut form = None;
        j.object(|key, j| {
            form = Some(match key {
                b"Planes" => Form::read_planes(j)?,
                b"Int32" => Form::read_int32(j)?,
                _ => return Err(Bad),
            });
            Ok(())
        })?;
        form.ok_or(Bad)
    }

    fn read_planes(j: &mut Json) -> Result<Form> {
        let (mut stored, mut planes, mut slots, mut lanes) = ([0; 3], 0, 0, 0);
        j.object(|key, j| {
            match key {
                b"shape" => stored = shape(j)?,
                b"planes" => planes = size(j)? as u32,
                b"slots" => slots = size(j)?,
                b"lanes" => lanes = size(j)?,
                _ => return j.skip(),
            }
            Ok(())
        })?;
        elements(&stored)?;
        let sound = (1..=16).contains(&planes)
            && (planes as usize..=16).contains(&slots)
            && (1..=32).contains(&lanes);
        sound.then_some(Form::Planes { stored, planes, slots, lanes }).ok_or(Bad)
    }

    fn read_int32(j: &mut Json) -> Result<Form> {
        let (mut pitch, mut channels) = (0, 0);
        j.object(|key, j| {
            match key {
                b"pitch" => pitch = size(j)?,
                b"channels" => channels = size(j)?,
                _ => return j.skip(),
            }
            Ok(())
        })?;
        (1..=pitch).contains(&channels).then_some(Form::Int32 { pitch, channels }).ok_or(Bad)
    }
}

/// Where the planes of a channel of a stored pixel are.
struct Planes {
    stored: Shape,
    planes: u32,
    slots: usize,
    lanes: usize,
}

impl Planes {
    /// Byte and bit of each plane, most significant first.
    fn places(&self, pixel: usize, channel: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let pixel_words = self.stored[2].div_ceil(self.lanes) * self.slots;
        let first = pixel * pixel_words + channel / self.lanes * self.slots;
        (0..self.planes as usize).map(move |p| {
            let bit = (first + p) % 4 * self.lanes + channel % self.lanes;
            ((first + p) / 4 * beats_per_bank_word(self.lanes) * 8 + bit / 8, bit as u32 % 8)
        })
    }

    fn put(&self, to: &mut [u8], pixel: usize, channel: usize, code: i32) {
        for (p, (byte, bit)) in self.places(pixel, channel).enumerate() {
            to[byte] |= ((code >> (self.planes as usize - 1 - p) & 1) as u8) << bit;
        }
    }

    fn get(&self, from: &[u8], pixel: usize, channel: usize) -> u32 {
        self.places(pixel, channel).fold(0, |code, (byte, bit)| code << 1 | (from[byte] >> bit & 1) as u32)
    }
}

impl<'a> Tensor<'a> {
    /// Reads a description and checks what packing relies on; `limit`: bytes of the region.
    pub(crate) fn read(j: &mut Json<'a>, limit: usize) -> Result<Tensor<'a>> {
        let (mut name, mut own, mut ty, mut offset) = (None, None, (0, false), None);
        let (mut form, mut gather, mut quant) = (None, None, None);
        j.object(|key, j| {
            match key {
                b"name" => name = Some(j.string()?),
                b"shape" => own = Some(shape(j)?),
                b"ty" => ty = read_type(j)?,
                b"offset" => offset = Some(usize::try_from(j.natural()?).map_err(|_| Bad)?),
                b"form" => form = Some(Form::read(j)?),
                b"gather" => gather = Some(read_gather(j)?),
                b"quant" => quant = Some(read_quant(j)?),
                _ => return j.skip(),
            }
            Ok(())
        })?;
        let (bits, signed) = ty;
        let tensor = Tensor {
            name: name.ok_or(Bad)?,
            shape: own.ok_or(Bad)?,
            bits,
            signed,
            quant,
            offset: offset.ok_or(Bad)?,
            form: form.ok_or(Bad)?,
            gather,
        };
        tensor.check(limit).map(|()| tensor)
    }

    fn check(&self, limit: usize) -> Result<()> {
        let count = elements(&self.shape)?;
        let form = match (&self.form, &self.gather) {
            (Form::Planes { stored, .. }, None) => elements(stored)? == count,
            (Form::Planes { stored, .. }, Some(g)) => {
                g.rows.count * g.columns.count * self.shape[2] == stored[2]
            }
            (Form::Int32 { channels, .. }, None) => count.is_multiple_of(*channels as u64),
            (Form::Int32 { .. }, Some(_)) => false,
        };
        let fits = self.offset <= limit && self.region_bytes() <= (limit - self.offset) as u64;
        (form && fits && (1..=MAX_BITS).contains(&self.bits)).then_some(()).ok_or(Bad)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn region_bytes(&self) -> u64 {
        match self.form {
            Form::Planes { stored: [h, w, c], slots, lanes, .. } => {
                let words = h as u64 * w as u64 * (c.div_ceil(lanes) * slots) as u64;
                words.div_ceil(4) * beats_per_bank_word(lanes) as u64 * 8
            }
            Form::Int32 { pitch, channels } => (self.len() / channels) as u64 * pitch as u64 * 4,
        }
    }

    /// Smallest and largest code.
    pub fn range(&self) -> (i64, i64) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }

    fn check_count(&self, found: usize) -> core::result::Result<(), Error> {
        match self.len() {
            n if n == found => Ok(()),
            expected => Err(Error::WrongCount { expected, found }),
        }
    }

    /// Writes codes to the region as the machine reads them.
    pub(crate) fn pack(&self, codes: &[i32], region: &mut [u8]) -> core::result::Result<(), Error> {
        self.check_count(codes.len())?;
        let (lo, hi) = self.range();
        if let Some(index) = codes.iter().position(|c| !(lo..=hi).contains(&(*c as i64))) {
            return Err(Error::BadValue { index, value: codes[index] });
        }
        let to = &mut region[self.offset..][..self.region_bytes() as usize];
        to.fill(0);
        match (self.form, &self.gather) {
            (Form::Planes { stored, planes, slots, lanes }, gather) => {
                let planes = Planes { stored, planes, slots, lanes };
                match gather {
                    Some(gather) => self.pack_gathered(&planes, gather, codes, to),
                    None => codes
                        .iter()
                        .enumerate()
                        .for_each(|(i, code)| planes.put(to, i / stored[2], i % stored[2], *code)),
                }
            }
            (Form::Int32 { pitch, channels }, _) => {
                for (i, code) in codes.iter().enumerate() {
                    to[(i / channels * pitch + i % channels) * 4..][..4].copy_from_slice(&code.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    fn pack_gathered(&self, planes: &Planes, gather: &Gather, codes: &[i32], to: &mut [u8]) {
        let [h, w, c] = self.shape;
        for pixel in 0..planes.stored[0] * planes.stored[1] {
            let (y, x) = (pixel / planes.stored[1], pixel % planes.stored[1]);
            for tap in 0..gather.rows.count * gather.columns.count {
                let row = gather.rows.at(y, tap / gather.columns.count, h);
                let column = gather.columns.at(x, tap % gather.columns.count, w);
                for channel in 0..c {
                    let code = match row.zip(column) {
                        Some((row, column)) => codes[(row * w + column) * c + channel],
                        None => gather.pad_code,
                    };
                    planes.put(to, pixel, tap * c + channel, code);
                }
            }
        }
    }

    /// Reads codes from the region.
    pub(crate) fn unpack(&self, region: &[u8], codes: &mut [i32]) -> core::result::Result<(), Error> {
        self.check_count(codes.len())?;
        let from = &region[self.offset..][..self.region_bytes() as usize];
        match self.form {
            Form::Planes { stored, planes, slots, lanes } => {
                let layout = Planes { stored, planes, slots, lanes };
                let unused = 32 - planes;
                for (i, code) in codes.iter_mut().enumerate() {
                    let bits = layout.get(from, i / stored[2], i % stored[2]) << unused;
                    *code = if self.signed { bits as i32 >> unused } else { (bits >> unused) as i32 };
                }
            }
            Form::Int32 { pitch, channels } => {
                for (i, code) in codes.iter_mut().enumerate() {
                    let at = (i / channels * pitch + i % channels) * 4;
                    *code = i32::from_le_bytes([from[at], from[at + 1], from[at + 2], from[at + 3]]);
                }
            }
        }
        Ok(())
    }

    /// Code of a real number, rounded to nearest (ties away from zero, as TFLite) and clamped. `None` without [`Quant`].
    pub fn quantize(&self, real: f64) -> Option<i32> {
        let q = self.quant?;
        let (lo, hi) = self.range();
        let x = real / q.scale;
        let rounded = if x < 0.0 { x - 0.5 } else { x + 0.5 } as i64; // saturates; NaN gives 0
        Some(rounded.saturating_add(q.zero_point as i64).clamp(lo, hi) as i32)
    }

    /// Real number of a code. `None` without [`Quant`].
    pub fn dequantize(&self, code: i32) -> Option<f64> {
        self.quant.map(|q| q.scale * (code as f64 - q.zero_point as f64))
    }
}

fn read_type(j: &mut Json) -> Result<(u32, bool)> {
    let (mut bits, mut signed) = (0, false);
    j.object(|key, j| {
        match key {
            b"bits" => bits = size(j)? as u32,
            b"signed" => signed = j.boolean()?,
            _ => return j.skip(),
        }
        Ok(())
    })?;
    Ok((bits, signed))
}

fn read_gather(j: &mut Json) -> Result<Gather> {
    let (mut rows, mut columns, mut pad_code) = (None, None, 0);
    j.object(|key, j| {
        match key {
            b"rows" => rows = Some(Axis::read(j)?),
            b"cols" => columns = Some(Axis::read(j)?),
            b"pad_code" => pad_code = i32::try_from(j.integer()?).map_err(|_| Bad)?,
            _ => return j.skip(),
        }
        Ok(())
    })?;
    Ok(Gather { rows: rows.ok_or(Bad)?, columns: columns.ok_or(Bad)?, pad_code })
}

fn read_quant(j: &mut Json) -> Result<Quant> {
    let (mut scale, mut zero_point) = (0.0, 0);
    j.object(|key, j| {
        match key {
            b"scale" => scale = j.float()?,
            b"zero_point" => zero_point = i32::try_from(j.integer()?).map_err(|_| Bad)?,
            _ => return j.skip(),
        }
        Ok(())
    })?;
    if scale > 0.0 {
        Ok(Quant { scale, zero_point })
    } else {
        Err(Bad)
    }
}
