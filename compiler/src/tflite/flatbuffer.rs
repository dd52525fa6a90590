// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables of a flatbuffer, read by field number; every access is checked against the end of the file.

use planus::table_reader::Table as RawTable;
use planus::{SliceWithStartOffset, TableRead, Vector, VectorReadInner};

/// A table whose fields are looked up by number.
#[derive(Clone, Copy)]
pub struct Table<'a>(RawTable<'a>);

impl<'a> TableRead<'a> for Table<'a> {
    fn from_buffer(
        buffer: SliceWithStartOffset<'a>,
        offset: usize,
    ) -> std::result::Result<Self, planus::errors::ErrorKind> {
        Ok(Table(RawTable::from_buffer(buffer, offset)?))
    }
}

impl<'a> VectorReadInner<'a> for Table<'a> {
    type Error = planus::Error;
    /// Bytes of an offset.
    const STRIDE: usize = 4;

    unsafe fn from_buffer(buffer: SliceWithStartOffset<'a>, offset: usize) -> planus::Result<Self> {
        let at = buffer.offset_from_start;
        TableRead::from_buffer(buffer, offset).map_err(|e| e.with_error_location("[Table]", "get", at))
    }
}

/// What is damaged, in words.
pub type Result<T> = std::result::Result<T, String>;

impl<'a> Table<'a> {
    /// The file's first table.
    pub fn root(bytes: &'a [u8]) -> Result<Table<'a>> {
        let buffer = SliceWithStartOffset { buffer: bytes, offset_from_start: 0 };
        TableRead::from_buffer(buffer, 0).map_err(|e| e.to_string())
    }

    fn read<T: TableRead<'a>>(&self, number: usize) -> Result<Option<T>> {
        self.0.access(number, "field", "").map_err(|e| format!("field {number}: {}", e.error_kind))
    }

    pub fn int(&self, number: usize, default: i32) -> Result<i32> {
        Ok(self.read(number)?.unwrap_or(default))
    }

    pub fn unsigned(&self, number: usize) -> Result<u32> {
        Ok(self.read(number)?.unwrap_or(0))
    }

    pub fn long(&self, number: usize) -> Result<u64> {
        Ok(self.read(number)?.unwrap_or(0))
    }

    pub fn byte(&self, number: usize) -> Result<i8> {
        Ok(self.read(number)?.unwrap_or(0))
    }

    pub fn flag(&self, number: usize, default: bool) -> Result<bool> {
        Ok(self.read::<u8>(number)?.map_or(default, |v| v != 0))
    }

    pub fn float(&self, number: usize) -> Result<f32> {
        Ok(self.read(number)?.unwrap_or(0.0))
    }

    pub fn text(&self, number: usize) -> Result<&'a str> {
        Ok(self.read(number)?.unwrap_or(""))
    }

    pub fn table(&self, number: usize) -> Result<Option<Table<'a>>> {
        self.read(number)
    }

    /// All tables of a list; each takes at least its offset's four bytes of the file.
    pub fn tables(&self, number: usize) -> Result<Vec<Table<'a>>> {
        let list: Option<Vector<'a, planus::Result<Table<'a>>>> = self.read(number)?;
        let tables = list.into_iter().flat_map(|v| v.iter());
        tables.map(|t| t.map_err(|e| format!("list {number}: {}", e.error_kind))).collect()
    }

    pub fn ints(&self, number: usize) -> Result<Vec<i32>> {
        let list: Option<Vector<'a, i32>> = self.read(number)?;
        Ok(list.into_iter().flat_map(|v| v.iter()).collect())
    }

    pub fn longs(&self, number: usize) -> Result<Vec<i64>> {
        let list: Option<Vector<'a, i64>> = self.read(number)?;
        Ok(list.into_iter().flat_map(|v| v.iter()).collect())
    }

    pub fn floats(&self, number: usize) -> Result<Vec<f32>> {
        let list: Option<Vector<'a, f32>> = self.read(number)?;
        Ok(list.into_iter().flat_map(|v| v.iter()).collect())
    }

    pub fn bytes(&self, number: usize) -> Result<&'a [u8]> {
        Ok(self.read(number)?.unwrap_or(&[]))
    }
}
