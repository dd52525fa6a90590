// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Quantizers and quantized operators behind the network's integer part, on the host.

use super::constant::{axis, int, ConstTensor};
use super::host::split_dims;
use super::linear::LinearQuant;
use super::lower::Importer;
use super::model::Node;
use super::value::{HostValue, Value};
use crate::tail::{HostOp, HostQuant};

impl Importer<'_> {
    /// Scale, zero point and type of inputs `at` and the one behind it; one for the whole tensor.
    fn host_quant(
        &self,
        node: &Node,
        constants: &[Option<&ConstTensor>],
        at: usize,
    ) -> Result<HostQuant, String> {
        let arg = |i: usize| constants.get(i).copied().flatten();
        let scale = arg(at).ok_or_else(|| format!("input {at} is not a constant"))?;
        if node.inputs.get(at + 1).is_some_and(|n| !n.is_empty()) && arg(at + 1).is_none() {
            return Err(format!("input {} is not a constant", at + 1));
        }
        let q = LinearQuant::new(scale, arg(at + 1), 1)?;
        let ([scale], [zero]) = (&q.scale[..], &q.zero_point[..]) else {
            return Err("scales that differ from channel to channel, behind the network".into());
        };
        let (lo, hi) = q.ty.range();
        if q.ty.bits > 16 || !q.ty.contains(*zero) {
            return Err("a zero point or type that quantized values cannot have".into());
        }
        Ok(HostQuant { scale: *scale, zero_point: *zero as i32, range: (lo as i32, hi as i32) })
    }

    /// A quantized operator; `None`: it is none of these.
    pub fn codes_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<Option<HostValue>, String> {
        let name = node.outputs.first().cloned().unwrap_or_default();
        let value = |h: &mut Self, i: usize| h.host_input(node, i, inputs.get(i).unwrap_or(&None));
        Ok(Some(match node.op.as_str() {
            "QuantizeLinear" => {
                let (x, q) = (value(self, 0)?, self.host_quant(node, constants, 1)?);
                let dims = x.dims.clone();
                self.host_node(&name, HostOp::Quantize(q), &[&x], dims)
            }
            "DequantizeLinear" => {
                let (x, q) = (value(self, 0)?, self.host_quant(node, constants, 1)?);
                let dims = x.dims.clone();
                self.host_node(&name, HostOp::Dequantize(q), &[&x], dims)
            }
            "QLinearSigmoid" | "QLinearLeakyRelu" => {
                let (from, to) = (self.host_quant(node, constants, 1)?, self.host_quant(node, constants, 3)?);
                let step = super::arithmetic::function_step(node)?.ok_or("not supported")?;
                let function = match step {
                    crate::host::FloatStep::Function(f) => f,
                    crate::host::FloatStep::Slope(c) => crate::functions::Function::LeakyRelu(c[0]),
                    _ => return Err("not supported behind the network".into()),
                };
                let x = value(self, 0)?;
                let dims = x.dims.clone();
                let x = self.host_node(&name, HostOp::Dequantize(from), &[&x], dims.clone());
                let y = self.host_node(&name, HostOp::Function(function), &[&x], dims.clone());
                self.host_node(&name, HostOp::Quantize(to), &[&y], dims)
            }
            "QLinearConcat" => {
                let to = self.host_quant(node, constants, 0)?;
                let mut parts = Vec::new();
                for i in (2..inputs.len()).step_by(3) {
                    let (x, from) = (value(self, i)?, self.host_quant(node, constants, i + 1)?);
                    let dims = x.dims.clone();
                    let real = self.host_node(&name, HostOp::Dequantize(from), &[&x], dims.clone());
                    let codes = self.host_node(&name, HostOp::Quantize(to), &[&real], dims);
                    parts.push(if from == to { x } else { codes });
                }
                self.joined_on_host(node, parts)?
            }
            "QLinearSoftmax" => {
                let (from, to) = (self.host_quant(node, constants, 1)?, self.host_quant(node, constants, 3)?);
                let x = value(self, 0)?;
                let flat = int(node, "opset", 13)? < 13;
                let along = axis(int(node, "axis", if flat { 1 } else { -1 })?, x.dims.len())?;
                let dims = x.dims.clone();
                let rows = match flat {
                    true => split_dims(&dims, along),
                    false => dims.clone(),
                };
                let op = HostOp::QuantizedSoftmax { axis: if flat { 1 } else { along }, from, to };
                let x = self.host_node(&name, HostOp::Reshape, &[&x], rows.clone());
                let y = self.host_node(&name, op, &[&x], rows);
                self.host_node(&name, HostOp::Reshape, &[&y], dims)
            }
            _ => return Ok(None),
        }))
    }

    /// The largest (or smallest) elements along an axis, and their places.
    pub fn top_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<Vec<Value>, String> {
        let x = self.host_input(node, 0, inputs.first().unwrap_or(&None))?;
        let count = match constants.get(1).copied().flatten() {
            Some(t) => t.integers()?.first().copied().unwrap_or(0),
            None => int(node, "k", 0)?,
        };
        let along = axis(int(node, "axis", -1)?, x.dims.len())?;
        let size = *x.dims.get(along).ok_or("a scalar has no largest elements")?;
        let count = usize::try_from(count).ok().filter(|k| (1..=size).contains(k));
        let count =
            count.ok_or_else(|| format!("the number of elements must be a constant from 1 to {size}"))?;
        let largest = int(node, "largest", 1)? != 0;
        let mut dims = x.dims.clone();
        dims[along] = count;
        let both = [false, true].into_iter().zip(&node.outputs);
        Ok(both
            .map(|(places, name)| {
                let op = HostOp::Top { axis: along, count, largest, places };
                Value::Host(self.host_node(name, op, &[&x], dims.clone()))
            })
            .collect())
    }
}
