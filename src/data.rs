// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Batches of arrays from `.npy` and `.npz` files, and arrays back into them.

use crate::{out_file, Failure};
use brickwork_compiler::npz::{npy_bytes, npz_bytes, read_npy, read_npz, Array, Data};
use std::path::Path;

/// Named arrays, each with the batch as its first axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub arrays: Vec<(String, Array)>,
    /// File that they came from.
    pub source: String,
}

impl Batch {
    /// Reads a `.npz` file, or a `.npy` file as the array `input`.
    pub fn read(path: &Path) -> Result<Batch, Failure> {
        let arrays = match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => read_npz(path).map_err(Failure::other)?,
            Some("npy") => vec![("input".to_string(), read_npy(path).map_err(Failure::other)?)],
            _ => {
                return Err(Failure::file(
                    "read",
                    path,
                    "the name must end in .npy, .npz, .png, .jpg or .jpeg",
                ))
            }
        };
        Ok(Batch { arrays, source: path.display().to_string() })
    }

    /// The array of this name, or else the one with the general name `or`, where `only` says that there is one candidate.
    pub fn find(&self, name: &str, or: &str, only: bool) -> Option<&Array> {
        let by = |n: &str| self.arrays.iter().find(|(k, _)| k == n).map(|(_, a)| a);
        by(name).or_else(|| by(or).filter(|_| only))
    }

    /// [`Batch::find`], or an error that lists what the file has.
    pub fn need(&self, name: &str, or: &str, only: bool) -> Result<&Array, Failure> {
        self.find(name, or, only).ok_or_else(|| {
            let wanted = if only { format!("`{name}` or `{or}`") } else { format!("`{name}`") };
            let there: Vec<String> =
                self.arrays.iter().map(|(n, a)| format!("`{n}` ({})", kind(a))).collect();
            let there = if there.is_empty() { "no arrays".into() } else { there.join(", ") };
            Failure::Other(format!("{} has no array {wanted}; it has {there}", self.source))
        })
    }

    /// Number of elements of shape `dims` in an array of this file, at least 1.
    pub fn length(&self, array: &Array, name: &str, dims: &[usize]) -> Result<usize, Failure> {
        let problem = match batch_length(array, dims) {
            Some(0) => "holds no inputs".to_string(),
            Some(n) => return Ok(n),
            None => {
                let inner: Vec<String> = without_batch(dims).iter().map(usize::to_string).collect();
                format!("is {}; `{name}` has the shape [N, {}], N inputs", kind(array), inner.join(", "))
            }
        };
        Err(Failure::Other(format!("{}: the array for `{name}` {problem}", self.source)))
    }
}

/// Type and shape of an array, e.g. `float32 [40, 10]`.
pub fn kind(array: &Array) -> String {
    format!("{} {:?}", array.data.type_name(), array.shape)
}

/// `dims` without its first axis, if that is a batch of 1.
fn without_batch(dims: &[usize]) -> &[usize] {
    match dims.split_first() {
        Some((1, rest)) => rest,
        _ => dims,
    }
}

/// Element `index` of the batch axis. An array with the shape of one element is a batch of one.
pub fn element(array: &Array, index: usize, dims: &[usize]) -> Option<Array> {
    if array.shape == dims || array.shape == without_batch(dims) {
        return (index == 0).then(|| array.clone());
    }
    array.item(index)
}

/// Number of elements of shape `dims` in an array; `None`: its shape is another one.
pub fn batch_length(array: &Array, dims: &[usize]) -> Option<usize> {
    let one = without_batch(dims);
    if array.shape == dims || array.shape == one {
        return Some(1);
    }
    let (n, rest) = array.shape.split_first()?;
    (rest == one || rest == dims).then_some(*n)
}

/// One array from equal ones along a new first axis; `None` if there are none.
pub fn stack(items: &[Array]) -> Option<Array> {
    macro_rules! joined {
        ($($kind:ident),*) => {
            match &items.first()?.data {
                $(Data::$kind(_) => Data::$kind(items.iter().filter_map(|a| match &a.data {
                    Data::$kind(v) => Some(v.iter().copied()),
                    _ => None,
                }).flatten().collect()),)*
            }
        };
    }
    let first = items.first()?;
    let tail = match first.shape.split_first() {
        Some((1, rest)) => rest,
        _ => first.shape.as_slice(),
    };
    let shape = [&[items.len()], tail].concat();
    Array::new(shape, joined!(I8, U8, I16, I32, I64, F32, F64)).ok()
}

/// Errors: the name of a file for results is not that of an array file.
pub fn check_output(path: &Path) -> Result<(), Failure> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npz" | "npy") => Ok(()),
        _ => Err(Failure::file("write", path, "the name must end in .npy or .npz")),
    }
}

/// Writes a `.npz` file, or a `.npy` file if there is one array; whole or not at all.
pub fn write(path: &Path, arrays: &[(String, Array)]) -> Result<(), Failure> {
    check_output(path)?;
    let bytes = match (path.extension().and_then(|e| e.to_str()), arrays) {
        (Some("npy"), [(_, array)]) => npy_bytes(array),
        (Some("npy"), _) => {
            return Err(Failure::file("write", path, format!("{} arrays need a .npz file", arrays.len())))
        }
        _ => npz_bytes(arrays).map_err(|e| Failure::file("write", path, e))?,
    };
    out_file::write_whole(path, &bytes)
}

/// Elements that differ: index, expected, got. `None`: the shapes differ beside a batch axis of 1.
pub fn differences(expected: &Array, got: &Array) -> Option<Vec<(usize, String, String)>> {
    if expected.data.len() != got.data.len() {
        return None;
    }
    let (a, b) = (numbers(&expected.data), numbers(&got.data));
    let differ = a.into_iter().zip(b).enumerate().filter(|(_, (x, y))| x != y && !(x.is_nan() && y.is_nan()));
    Some(differ.map(|(i, (x, y))| (i, x.to_string(), y.to_string())).collect())
}

/// Values as float64, exact for all types but large int64, which no model output is.
pub fn numbers(data: &Data) -> Vec<f64> {
    match data {
        Data::I8(v) => v.iter().map(|&x| x as f64).collect(),
        Data::U8(v) => v.iter().map(|&x| x as f64).collect(),
        Data::I16(v) => v.iter().map(|&x| x as f64).collect(),
        Data::I32(v) => v.iter().map(|&x| x as f64).collect(),
        Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
        Data::F32(v) => v.iter().map(|&x| x as f64).collect(),
        Data::F64(v) => v.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], data: Vec<i32>) -> Array {
        Array::i32(shape.to_vec(), data).expect("matching shape")
    }

    #[test]
    fn stacks_along_the_batch_axis_and_takes_apart_again() {
        let items = [array(&[1, 2], vec![1, 2]), array(&[1, 2], vec![3, 4])];
        let all = stack(&items).expect("items");
        assert_eq!(all, array(&[2, 2], vec![1, 2, 3, 4]));
        assert_eq!(element(&all, 1, &[1, 2]).map(|a| a.data), Some(items[1].data.clone()));
        assert_eq!(stack(&[]), None);
    }

    #[test]
    fn a_batch_has_the_models_shape_with_or_without_its_batch_axis() {
        let length = |shape: &[usize], dims: &[usize]| {
            batch_length(&array(shape, vec![0; shape.iter().product()]), dims)
        };
        for (shape, n) in
            [(&[5, 2, 3][..], 5), (&[5, 1, 2, 3], 5), (&[1, 2, 3], 1), (&[2, 3], 1), (&[0, 2, 3], 0)]
        {
            assert_eq!(length(shape, &[1, 2, 3]), Some(n), "{shape:?}");
        }
        for shape in [&[5, 3, 2][..], &[6], &[], &[3]] {
            assert_eq!(length(shape, &[1, 2, 3]), None, "{shape:?}");
        }
        assert_eq!(length(&[4, 7], &[7]), Some(4));
    }

    #[test]
    fn differences_name_index_and_values() {
        let (a, b) = (array(&[3], vec![1, 2, 3]), array(&[1, 3], vec![1, 5, 3]));
        assert_eq!(differences(&a, &b), Some(vec![(1, "2".into(), "5".into())]));
        assert_eq!(differences(&a, &array(&[2], vec![1, 2])), None);
    }
}
