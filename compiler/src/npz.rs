// SPDX-License-Identifier: Apache-2.0 OR MIT
//! NumPy arrays: `.npy` files and `.npz` archives of them (compressed or not) read, and written uncompressed.
//!
//! Little-endian, C order; types int8, uint8, int16, int32, int64, float32, float64. Anything else is an error that says
//! what stood there; nothing is converted silently.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Elements of an array, in C order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// An array: shape and elements; the product of `shape` is the number of elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Data,
}

/// What is wrong with a file, in words, with the file's name once [`read_npz`] or [`read_npy`] knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpzError(pub String);

impl fmt::Display for NpzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NpzError {}

fn error<T>(text: impl Into<String>) -> Result<T, NpzError> {
    Err(NpzError(text.into()))
}

macro_rules! each_type {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::I8($v) => $body,
            Data::U8($v) => $body,
            Data::I16($v) => $body,
            Data::I32($v) => $body,
            Data::I64($v) => $body,
            Data::F32($v) => $body,
            Data::F64($v) => $body,
        }
    };
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        each_type!(self, v => v.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of the type, e.g. `float32`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Data::I8(_) => "int8",
            Data::U8(_) => "uint8",
            Data::I16(_) => "int16",
            Data::I32(_) => "int32",
            Data::I64(_) => "int64",
            Data::F32(_) => "float32",
            Data::F64(_) => "float64",
        }
    }

    /// NumPy's code of the type, e.g. `<f4`.
    pub fn descr(&self) -> &'static str {
        match self {
            Data::I8(_) => "|i1",
            Data::U8(_) => "|u1",
            Data::I16(_) => "<i2",
            Data::I32(_) => "<i4",
            Data::I64(_) => "<i8",
            Data::F32(_) => "<f4",
            Data::F64(_) => "<f8",
        }
    }

    fn from_bytes(descr: &str, bytes: &[u8]) -> Result<Data, NpzError> {
        macro_rules! parse {
            ($t:ty) => {
                bytes
                    .chunks_exact(size_of::<$t>())
                    .map(|c| <$t>::from_le_bytes(c.try_into().expect("chunk of the type's size")))
                    .collect()
            };
        }
        Ok(match descr {
            "|i1" | "<i1" => Data::I8(parse!(i8)),
            "|u1" | "<u1" => Data::U8(bytes.to_vec()),
            "<i2" => Data::I16(parse!(i16)),
            "<i4" => Data::I32(parse!(i32)),
            "<i8" => Data::I64(parse!(i64)),
            "<f4" => Data::F32(parse!(f32)),
            "<f8" => Data::F64(parse!(f64)),
            _ => return error(unsupported_type(descr)),
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        each_type!(self, v => v.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
}

fn unsupported_type(descr: &str) -> String {
    format!("element type {descr:?} is not supported (int8, uint8, int16, int32, int64, float32, float64; little-endian)")
}

fn item_bytes(descr: &str) -> Result<usize, NpzError> {
    match descr {
        "|i1" | "<i1" | "|u1" | "<u1" => Ok(1),
        "<i2" => Ok(2),
        "<i4" | "<f4" => Ok(4),
        "<i8" | "<f8" => Ok(8),
        _ => error(unsupported_type(descr)),
    }
}

impl Array {
    /// Errors: the number of elements is not the product of `shape`.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Array, NpzError> {
        if element_count(&shape) != Some(data.len()) {
            return error(format!("shape {shape:?} does not hold {} elements", data.len()));
        }
        Ok(Array { shape, data })
    }

    pub fn f32(shape: Vec<usize>, data: Vec<f32>) -> Result<Array, NpzError> {
        Array::new(shape, Data::F32(data))
    }

    pub fn i32(shape: Vec<usize>, data: Vec<i32>) -> Result<Array, NpzError> {
        Array::new(shape, Data::I32(data))
    }

    /// Element `index` of the first axis, without that axis. `None` when out of range or without axes.
    pub fn item(&self, index: usize) -> Option<Array> {
        let (&n, rest) = self.shape.split_first()?;
        if index >= n {
            return None;
        }
        let size = rest.iter().product::<usize>();
        let range = index * size..(index + 1) * size;
        let data = match &self.data {
            Data::I8(v) => Data::I8(v[range].to_vec()),
            Data::U8(v) => Data::U8(v[range].to_vec()),
            Data::I16(v) => Data::I16(v[range].to_vec()),
            Data::I32(v) => Data::I32(v[range].to_vec()),
            Data::I64(v) => Data::I64(v[range].to_vec()),
            Data::F32(v) => Data::F32(v[range].to_vec()),
            Data::F64(v) => Data::F64(v[range].to_vec()),
        };
        Some(Array { shape: rest.to_vec(), data })
    }

    /// The integers of an int8, uint8, int16 or int32 array; `None` for other types.
    pub fn to_i32(&self) -> Option<Vec<i32>> {
        match &self.data {
            Data::I8(v) => Some(v.iter().map(|&x| x as i32).collect()),
            Data::U8(v) => Some(v.iter().map(|&x| x as i32).collect()),
            Data::I16(v) => Some(v.iter().map(|&x| x as i32).collect()),
            Data::I32(v) => Some(v.clone()),
            _ => None,
        }
    }
}

fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

const NPY_MAGIC: &[u8] = b"\x93NUMPY";

/// Parses the bytes of a `.npy` file.
pub fn parse_npy(bytes: &[u8]) -> Result<Array, NpzError> {
    if bytes.len() < 10 || &bytes[..6] != NPY_MAGIC {
        return error("not a .npy file: the magic bytes are missing");
    }
    let (start, header_bytes) = match bytes[6] {
        1 => (10, u16::from_le_bytes([bytes[8], bytes[9]]) as usize),
        2 | 3 if bytes.len() >= 12 => {
            (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize)
        }
        v => return error(format!(".npy format version {v} is unknown")),
    };
    let end = start + header_bytes;
    let Some(header) = bytes.get(start..end) else {
        return error("the .npy header is cut short");
    };
    let Ok(header) = std::str::from_utf8(header) else {
        return error("the .npy header is not text");
    };
    let (descr, shape) = parse_header(header)?;
    let wanted = element_count(&shape).and_then(|n| n.checked_mul(item_bytes(&descr).ok()?));
    let found = bytes.len() - end;
    item_bytes(&descr)?;
    if wanted != Some(found) {
        return error(format!("{found} bytes of data do not fill shape {shape:?} of type {descr:?}"));
    }
    Array::new(shape, Data::from_bytes(&descr, &bytes[end..])?)
}

/// Type and shape from the header, a Python dictionary of the form that NumPy writes.
fn parse_header(header: &str) -> Result<(String, Vec<usize>), NpzError> {
    let field = |name: &str| {
        let at = header.find(&format!("'{name}':"))?;
        Some(header[at + name.len() + 3..].trim_start())
    };
    let bad = || NpzError(format!("the .npy header is not understood: {}", header.trim()));
    if field("fortran_order").ok_or_else(bad)?.starts_with("True") {
        return error("Fortran order is not supported: save with numpy.ascontiguousarray");
    }
    let descr = field("descr").ok_or_else(bad)?;
    if !descr.starts_with('\'') {
        return error("structured arrays are not supported");
    }
    let descr = descr[1..].split('\'').next().ok_or_else(bad)?.to_string();
    let shape = field("shape").and_then(|s| s.strip_prefix('(')).ok_or_else(bad)?;
    let shape = &shape[..shape.find(')').ok_or_else(bad)?];
    let dims = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    let shape = dims.map(|d| d.parse::<usize>().map_err(|_| bad())).collect::<Result<_, _>>()?;
    Ok((descr, shape))
}

/// The bytes of a `.npy` file, format 1.0.
pub fn npy_bytes(array: &Array) -> Vec<u8> {
    let dims = array.shape.iter().map(|d| d.to_string()).collect::<Vec<_>>();
    let tuple = if dims.len() == 1 { format!("({},)", dims[0]) } else { format!("({})", dims.join(", ")) };
    let descr = array.data.descr();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple}, }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    let mut bytes = NPY_MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(array.data.to_bytes());
    bytes
}

/// Reads a `.npy` file.
pub fn read_npy(path: &Path) -> Result<Array, NpzError> {
    parse_npy(&read(path)?).map_err(|e| NpzError(format!("{}: {e}", path.display())))
}

/// Writes a `.npy` file.
pub fn write_npy(path: &Path, array: &Array) -> Result<(), NpzError> {
    write(path, &npy_bytes(array))
}

/// Reads a `.npz` file: names (without `.npy`) and arrays, in the archive's order.
pub fn read_npz(path: &Path) -> Result<Vec<(String, Array)>, NpzError> {
    parse_npz(&read(path)?).map_err(|e| NpzError(format!("{}: {e}", path.display())))
}

/// Writes an uncompressed `.npz` file; the same arrays give the same bytes.
pub fn write_npz(path: &Path, arrays: &[(String, Array)]) -> Result<(), NpzError> {
    write(path, &npz_bytes(arrays)?)
}

fn read(path: &Path) -> Result<Vec<u8>, NpzError> {
    std::fs::read(path).map_err(|e| NpzError(format!("{}: {e}", path.display())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), NpzError> {
    std::fs::write(path, bytes).map_err(|e| NpzError(format!("{}: {e}", path.display())))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<usize, NpzError> {
    let b = bytes.get(at..at.saturating_add(2)).ok_or_else(cut)?;
    Ok(u16::from_le_bytes([b[0], b[1]]) as usize)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize, NpzError> {
    let b = bytes.get(at..at.saturating_add(4)).ok_or_else(cut)?;
    Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
}

fn cut() -> NpzError {
    NpzError("the .npz archive is cut short or damaged".into())
}

const END_BYTES: usize = 22;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;

/// Parses the bytes of a `.npz` archive (stored or deflated) by its central directory.
pub fn parse_npz(bytes: &[u8]) -> Result<Vec<(String, Array)>, NpzError> {
    if bytes.len() < END_BYTES || !bytes.starts_with(b"PK") {
        return error("not a .npz archive");
    }
    let first = bytes.len().saturating_sub(END_BYTES + 0xffff);
    let end = (first..=bytes.len() - END_BYTES).rev().find(|&i| bytes[i..].starts_with(b"PK\x05\x06"));
    let end = end.ok_or_else(cut)?;
    let count = u16_at(bytes, end + 10)?;
    let mut at = u32_at(bytes, end + 16)?;
    let mut arrays = Vec::new();
    for _ in 0..count {
        if !bytes.get(at..).is_some_and(|b| b.starts_with(b"PK\x01\x02")) {
            return Err(cut());
        }
        let name_bytes = u16_at(bytes, at + 28)?;
        let skip = name_bytes + u16_at(bytes, at + 30)? + u16_at(bytes, at + 32)?;
        let name = bytes.get(at + CENTRAL_BYTES..at + CENTRAL_BYTES + name_bytes).ok_or_else(cut)?;
        let name = String::from_utf8_lossy(name).into_owned();
        let array = member(bytes, at).and_then(|data| parse_npy(&data));
        let array = array.map_err(|e| NpzError(format!("{name}: {e}")))?;
        arrays.push((name.strip_suffix(".npy").unwrap_or(&name).to_string(), array));
        at += CENTRAL_BYTES + skip;
    }
    Ok(arrays)
}

/// Methods of zip members: stored as it is, deflated.
const STORED: usize = 0;
const DEFLATED: usize = 8;

/// The data of the member whose central directory entry stands at `at`.
fn member(bytes: &[u8], at: usize) -> Result<Cow<'_, [u8]>, NpzError> {
    let method = u16_at(bytes, at + 10)?;
    let (crc, packed) = (u32_at(bytes, at + 16)?, u32_at(bytes, at + 20)?);
    let (size, local) = (u32_at(bytes, at + 24)?, u32_at(bytes, at + 42)?);
    if !bytes.get(local..).is_some_and(|b| b.starts_with(b"PK\x03\x04")) {
        return Err(cut());
    }
    let start = local + LOCAL_BYTES + u16_at(bytes, local + 26)? + u16_at(bytes, local + 28)?;
    let found = bytes.get(start..start.saturating_add(packed)).ok_or_else(cut)?;
    let data = match method {
        STORED => Cow::Borrowed(found),
        DEFLATED => Cow::Owned(
            miniz_oxide::inflate::decompress_to_vec_with_limit(found, size)
                .map_err(|e| NpzError(format!("cannot be unpacked: {e}")))?,
        ),
        other => return error(format!("is compressed by zip method {other}; save with numpy.savez")),
    };
    if data.len() != size || crc32(&data) as usize != crc {
        return error("the checksum does not fit the data");
    }
    Ok(data)
}

/// The bytes of an uncompressed `.npz` archive. Errors: more than 4 GiB or 65535 arrays.
pub fn npz_bytes(arrays: &[(String, Array)]) -> Result<Vec<u8>, NpzError> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, array) in arrays {
        let (name, data) = (format!("{name}.npy"), npy_bytes(array));
        if name.len() > 0xffff || data.len() + out.len() > u32::MAX as usize - 0x1_0000_0000 / 16 {
            return error(format!("{name}: the archive would exceed what a plain zip file holds"));
        }
        // Version, flags, method, time, date (1980-01-01), checksum, sizes, length of the name, of the extra field.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32(&data).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        central.extend(b"PK\x01\x02\x14\x00");
        central.extend(&common);
        central.extend([0; 10]);
        central.extend((out.len() as u32).to_le_bytes());
        central.extend(name.bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.bytes());
        out.extend(data);
    }
    let Ok(count) = u16::try_from(arrays.len()) else {
        return error(format!("{} arrays are too many for a plain zip file", arrays.len()));
    };
    let start = out.len() as u32;
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    Ok(out)
}

/// CRC-32 as in zip files (reflected polynomial 0xedb88320).
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|i| {
        (0..8).fold(i as u32, |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    });
    !bytes.iter().fold(!0u32, |c, &b| (c >> 8) ^ table[((c ^ b as u32) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<(String, Array)> {
        let arrays = [
            (vec![2, 2], Data::I8(vec![-128, -1, 0, 127])),
            (vec![3], Data::U8(vec![0, 128, 255])),
            (vec![1, 2], Data::I16(vec![-32768, 32767])),
            (vec![], Data::I32(vec![i32::MIN])),
            (vec![0, 4], Data::I64(vec![])),
            (vec![2], Data::F32(vec![-0.0, 1.5e-40])),
            (vec![2], Data::F64(vec![std::f64::consts::PI, f64::MAX])),
        ];
        arrays
            .into_iter()
            .enumerate()
            .map(|(i, (s, d))| (format!("a{i}"), Array::new(s, d).unwrap()))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let arrays = samples();
        assert_eq!(parse_npz(&npz_bytes(&arrays).unwrap()).unwrap(), arrays);
    }

    #[test]
    fn crc_is_the_zip_checksum() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// A `.npz` as `numpy.savez_compressed` writes it: int16 [2, 3] named `input`.
    #[test]
    fn compressed_archives_are_read_and_their_damage_is_found() {
        let array = Array::new(vec![2, 3], Data::I16(vec![1, -2, 3, 4, -5, 600])).unwrap();
        let plain = npy_bytes(&array);
        let packed = miniz_oxide::deflate::compress_to_vec(&plain, 6);
        let stored = npz_bytes(&[("input".into(), array.clone())]).unwrap();
        let data = stored.windows(6).position(|w| w == NPY_MAGIC).unwrap();
        let central = stored.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        let mut bytes = [&stored[..data], &packed, &stored[central..]].concat();
        let moved = data + packed.len();
        for (at, value) in [(moved + 10, DEFLATED), (moved + 20, packed.len()), (8, DEFLATED)] {
            bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
        }
        let end = bytes.len() - END_BYTES;
        bytes[end + 16..end + 20].copy_from_slice(&(moved as u32).to_le_bytes());
        assert_eq!(parse_npz(&bytes).unwrap(), [("input".to_string(), array)]);
        for i in data..moved {
            let mut damaged = bytes.clone();
            damaged[i] ^= 0x10;
            assert!(parse_npz(&damaged).is_err(), "byte {i}");
        }
    }

    #[test]
    fn damaged_archives_are_errors() {
        let bytes = npz_bytes(&samples()).unwrap();
        for cut in 0..bytes.len() {
            assert!(parse_npz(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let start = bytes.windows(6).position(|w| w == NPY_MAGIC).unwrap();
        for i in start..start + 80 {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            assert!(parse_npz(&damaged).is_err(), "byte {i}");
        }
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] = 0xff;
            let _ = parse_npz(&damaged); // must not panic
        }
    }

    #[test]
    fn refuses_other_types_and_orders() {
        let npy = npy_bytes(&samples()[0].1);
        let text = |from: &str, to: &str| {
            let at = npy.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            let mut bytes = npy.clone();
            bytes.splice(at..at + from.len(), to.bytes());
            parse_npy(&bytes).unwrap_err().0
        };
        assert!(text("'|i1'", "'>i1'").contains(">i1"));
        assert!(text("False", "True ").contains("Fortran"));
        assert!(text("(2, 2)", "(2, 3)").contains("do not fill"));
    }

    #[test]
    fn items_of_the_first_axis() {
        let a = Array::i32(vec![2, 3], (0..6).collect()).unwrap();
        assert_eq!(a.item(1), Some(Array::i32(vec![3], vec![3, 4, 5]).unwrap()));
        assert_eq!(a.item(2), None);
    }
}
