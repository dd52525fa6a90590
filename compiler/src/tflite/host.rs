// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators behind the network's integer part: they move codes, or are functions of one code, and the host does them.

use super::code::CodeOp;
use super::lower::{HostRef, Importer, Result, Value};
use super::model::{Model, Operator};
use crate::tail::HostOp;
use std::collections::BTreeMap;

/// Operators that the host can do.
const HOST: [&str; 24] = [
    "ABS",
    "CONCATENATION",
    "DEQUANTIZE",
    "ELU",
    "EXPAND_DIMS",
    "HARD_SWISH",
    "LEAKY_RELU",
    "LOGISTIC",
    "PACK",
    "QUANTIZE",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "RESHAPE",
    "SHAPE",
    "SLICE",
    "SOFTMAX",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TANH",
    "TRANSPOSE",
];

/// For each operator: it and all that read its results can be done by the host.
pub fn tail_operators(model: &Model) -> Vec<bool> {
    let mut readers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, op) in model.operators.iter().enumerate() {
        op.inputs.iter().flatten().for_each(|&t| readers.entry(t).or_default().push(i));
    }
    let mut tail = vec![false; model.operators.len()];
    for (i, op) in model.operators.iter().enumerate().rev() {
        let behind = op.outputs.iter().filter_map(|t| readers.get(t)).flatten();
        tail[i] = HOST.contains(&op.kind.as_str()) && behind.into_iter().all(|&r| r > i && tail[r]);
    }
    tail
}

/// Elements that the host moves about, at most.
const MOST_MOVED: usize = 1 << 24;

/// Places, in C order of `dims`, of the elements of a transposition.
pub fn transposed(dims: &[usize], order: &[usize]) -> Vec<usize> {
    let mut stride = vec![1; dims.len()];
    for a in (1..dims.len()).rev() {
        stride[a - 1] = stride[a] * dims[a];
    }
    let mut places = vec![0];
    for &a in order {
        let step = stride[a];
        places = places.iter().flat_map(|p| (0..dims[a]).map(move |i| p + i * step)).collect();
    }
    places
}

impl<'m> Importer<'m> {
    /// The value of an input on the host, if it is there already.
    pub fn on_host(&self, op: &Operator, i: usize) -> Result<Option<HostRef>> {
        Ok(match self.values[self.input_tensor(op, i)?] {
            Value::Host(v) => Some(v),
            _ => None,
        })
    }

    /// Elements of a host value in another order, or some of them.
    pub fn pick_on_host(&mut self, op: &Operator, y: usize, from: HostRef, places: Vec<usize>) -> Result<()> {
        if places.len() != self.model.tensors[y].count() {
            return Err(format!(
                "its output has {} elements, not {}",
                self.model.tensors[y].count(),
                places.len()
            ));
        }
        let places = places.into_iter().map(|p| u32::try_from(p).map_err(|_| "it is too large".to_string()));
        let op_host = HostOp::Pick(places.collect::<Result<_>>()?);
        self.host_node(op, y, op_host, vec![from]);
        Ok(())
    }

    /// A function of one code of a host value.
    pub fn function_on_host(
        &mut self,
        op: &Operator,
        i: usize,
        from: HostRef,
        f: impl Fn(i32) -> i32,
    ) -> Result<()> {
        let (x, y) = (self.input_tensor(op, i)?, self.output_tensor(op)?);
        let [a, b] = [x, y].map(|t| self.model.tensors[t].count());
        if a != b {
            return Err(format!("its output has {b} elements, its input {a}"));
        }
        let (lo, hi) = self.quant(x)?.range();
        let table = CodeOp::Table { lo, table: (lo..=hi).map(f).collect() };
        self.host_node(op, y, HostOp::Codes(table), vec![from]);
        Ok(())
    }

    /// Errors: more elements than the host moves.
    pub fn check_moved(&self, t: usize) -> Result<()> {
        match self.model.tensors[t].count() <= MOST_MOVED {
            true => Ok(()),
            false => Err(format!("its shape {:?} is too large", self.model.tensors[t].dims)),
        }
    }

    /// Parts of one scale behind each other along any axis.
    pub fn concat_on_host(&mut self, op: &Operator<'m>, axis: usize) -> Result<()> {
        let y = self.output_tensor(op)?;
        self.check_moved(y)?;
        let to = self.quant(y)?;
        let mut parts = Vec::new();
        let mut along = 0;
        let dims = self.model.tensors[y].dims.clone();
        for i in 0..op.inputs.len() {
            let t = self.input_tensor(op, i)?;
            if self.quant(t)? != to {
                return Err(format!("its input {i} must have its output's scale and zero point"));
            }
            let own = &self.model.tensors[t].dims;
            let fits = own.len() == dims.len() && (0..dims.len()).all(|a| a == axis || own[a] == dims[a]);
            if !fits {
                return Err(format!("its input {i} of shape {own:?} does not fit {dims:?}"));
            }
            along += own[axis];
            parts.push(self.host_value(t)?);
        }
        if along != dims[axis] {
            return Err(format!("its inputs have {along} along axis {axis}, its output {}", dims[axis]));
        }
        self.host_node(op, y, HostOp::Concat { axis }, parts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposition_lists_the_places_of_its_elements() {
        assert_eq!(transposed(&[2, 3], &[1, 0]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(transposed(&[1, 2, 2], &[2, 0, 1]), [0, 2, 1, 3]);
        let same: Vec<usize> = (0..24).collect();
        assert_eq!(transposed(&[2, 3, 4], &[0, 1, 2]), same);
    }
}
