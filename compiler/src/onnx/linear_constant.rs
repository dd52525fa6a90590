// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `QLinearMul` and `QLinearAdd` of an activation and a constant: functions of one code, for all channels or for each.

use super::linear::LinearQuant;
use super::lower::Importer;
use super::model::Node;
use super::ops::{activation, Constants, Inputs};
use super::value::{Base, FloatValue, LinearSum};
use crate::host::{CodeTable, FloatChain};

/// Most entries of a table over codes and channels.
const MAX_ENTRIES: i64 = 1 << 24;

impl Importer<'_> {
    /// `None`: none of the operands is a constant, or both. `quants`: of the two operands and the result.
    pub fn linear_by_constant(
        &mut self,
        node: &Node,
        inputs: &Inputs,
        constants: &Constants,
        quants: [&LinearQuant; 3],
    ) -> Result<Option<FloatValue>, String> {
        let constant = |i: usize| constants.get(i).copied().flatten();
        let (operand, first) = match (constant(0), constant(3)) {
            (None, Some(c)) => (c, false),
            (Some(c), None) => (c, true),
            _ => return Ok(None),
        };
        let [qa, qb, qy] = quants;
        let ([sa], [sb], [sy]) = (&qa.scale[..], &qb.scale[..], &qy.scale[..]) else {
            return Err("scales that differ from channel to channel".into());
        };
        let v = activation(inputs, if first { 3 } else { 0 })?;
        if v.int.is_none() {
            return Err("its input is a float; codes are needed".into());
        }
        let v = self.integer_codes(&format!("{}_input", node.name), v)?;
        let Base::Codes(t) = v.base else { return Err("its input is not quantized".into()) };
        let list = v.integer_constants(operand, self.channels(&v.base))?;
        let zeros = [qa.zero_point[0], qb.zero_point[0]];
        // ONNX Runtime adds the second operand first, but a first one that is the same for a run of elements before it.
        let repeated = operand.len() == 1 || v.dims.get(2..).is_some_and(|d| d.iter().product::<usize>() > 1);
        let sum = LinearSum::new([*sa, *sb], zeros, (*sy, qy.zero_point[0]));
        let ratio = sa * sb / sy;
        let code = |code: i64, constant: i64| {
            let codes = if first { [constant, code] } else { [code, constant] };
            match node.op.as_str() {
                "QLinearAdd" => sum.of_codes(codes.map(|c| c as f32), (first && repeated) as usize),
                _ => {
                    let product = (codes[0] - zeros[0]) as f32 * (codes[1] - zeros[1]) as f32;
                    (product * ratio + qy.zero_point[0] as f32).round_ties_even()
                }
            }
        };
        let (lo, hi) = self.ranges[t];
        if (hi - lo + 1).saturating_mul(list.len() as i64) > MAX_ENTRIES {
            return Err("too many codes for a table".into());
        }
        let values = list.iter().map(|&c| (lo..=hi).map(|x| code(v.chain.eval_integer(x, 0), c)).collect());
        let table = Some(CodeTable { first: lo, values: values.collect() });
        let chain = FloatChain { table, ..FloatChain::default() };
        let unit = LinearQuant { scale: vec![1.0], zero_point: vec![0], ..qy.clone() };
        let codes = self.quantize_linear(node, FloatValue { chain, int: None, ..v }, &unit)?;
        if let Base::Codes(t) = codes.base {
            let tensor = &mut self.graph.tensors[t];
            (tensor.scale, tensor.zero_point) = (*sy as f64, qy.zero_point[0] as i32);
        }
        Ok(Some(codes))
    }
}
