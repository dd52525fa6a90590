// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators on activations: what each makes of its input's base, chain and shape.

use super::arithmetic::function_step;
use super::constant::{int, new_shape, shape_of, ConstTensor};
use super::host::gathered;
use super::linear::LinearQuant;
use super::lower::Importer;
use super::model::Node;
use super::moves::transpose;
use super::shuffles::shuffled_order;
use super::value::{Base, FloatValue, Pending, Value};
use crate::host::{FloatChain, FloatStep, FromInt};
use std::rc::Rc;

pub type Inputs = [Option<Value>];
pub type Constants<'a> = [Option<&'a ConstTensor>];

/// Sums of exact products stay exact in float32 below this.
pub const FLOAT_EXACT: u64 = 1 << 24;

impl Importer<'_> {
    /// A node with at least one input that is not constant.
    pub fn operator(&mut self, node: &Node, inputs: &Inputs, constants: &Constants) -> Result<Value, String> {
        let x = || activation(inputs, 0);
        let floats = |v: FloatValue| Ok(Value::Float(v));
        match node.op.as_str() {
            "Shape" => return Ok(Value::Const(Rc::new(shape_of(&x()?.dims)))),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity" | "Dropout" => {
                let v = x()?;
                let dims = new_shape(node, &v.dims, constants.get(1..).unwrap_or(&[]))?;
                return floats(v.with_dims(dims.expect("one of the shape operators")));
            }
            "Cast" => return floats(self.cast(node, x()?)?),
            "Transpose" => return floats(transpose(node, x()?)?),
            "DepthToSpace" | "SpaceToDepth" => {
                let v = x()?;
                let (dims, order) = shuffled_order(node, &v.dims)?;
                return floats(v.reordered(dims, &order));
            }
            "Gather" => {
                let indices = constants.get(1).copied().flatten().ok_or("its indices are not constant")?;
                let v = x()?;
                let (dims, order) = gathered(&v.dims, indices, int(node, "axis", 0)?)?;
                return floats(v.reordered(dims, &order));
            }
            _ => {}
        }
        let float = || {
            let v = x()?;
            match v.int {
                None => Ok(v),
                Some(_) => {
                    Err("not supported on integers; a DequantizeLinear or Cast is missing".to_string())
                }
            }
        };
        floats(match node.op.as_str() {
            "Quant" | "IntQuant" | "BipolarQuant" => self.quantize(node, float()?, constants)?,
            "Trunc" => self.truncate(node, float()?, constants)?,
            "MultiThreshold" => self.thresholds(node, x()?, constants)?,
            "QuantizeLinear" => {
                if let Some(codes) = self.same_codes(node) {
                    return floats(codes);
                }
                let q = LinearQuant::of(node, constants, false)?;
                self.quantize_linear(node, float()?, &q)?
            }
            "DequantizeLinear" => {
                let v = x()?;
                let mut q = LinearQuant::of(node, constants, true)?;
                q.ty = v.int.unwrap_or(q.ty);
                self.dequantize_linear(v, &q)?
            }
            "ConvInteger" | "MatMulInteger" => self.integer_product(node, x()?, constants)?,
            op if op.starts_with("QLinear") || op == "QGemm" => {
                self.linear_operator(node, inputs, constants)?
            }
            "Relu" | "Neg" | "Clip" if x()?.int.is_some() => self.integer_unary(node, x()?, constants)?,
            "Relu" => x()?.then(FloatStep::Max(vec![0.0])),
            "Neg" => x()?.then(FloatStep::Mul(vec![-1.0])),
            "Clip" => self.clip(node, x()?, constants)?,
            "BatchNormalization" => self.batch_norm(node, float()?, constants)?,
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "BitShift" | "Pow" => {
                self.arithmetic(node, inputs, constants)?
            }
            "PRelu" => self.prelu(float()?, constants)?,
            "Pad" => self.pad(node, x()?, constants)?,
            "Resize" | "Upsample" => self.resize(node, x()?, constants)?,
            "Slice" => self.slice(node, x()?, constants)?,
            "Conv" => {
                let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
                let bias = optional(node, constants, 2, "bias")?;
                self.convolution(node, float()?, w, bias)?
            }
            "ConvTranspose" => {
                let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
                let bias = optional(node, constants, 2, "bias")?;
                self.transposed_convolution(node, float()?, w, bias)?
            }
            "MatMul" => self.matmul(node, inputs, constants)?,
            "Gemm" => self.gemm(node, inputs, constants)?,
            "MaxPool" | "GlobalMaxPool" => self.pool_max(node, x()?)?,
            "MaxPoolNHWC" => self.pool_max_last(node, x()?)?,
            "AveragePool" | "GlobalAveragePool" => self.pool_average(node, x()?)?,
            "ReduceMean" => self.mean(node, float()?, constants)?,
            "Concat" => self.concat(node, inputs)?,
            _ => match function_step(node)? {
                Some(step) => float()?.then(step),
                None => return Err("not supported on activations".into()),
            },
        })
    }

    pub fn list(&self, v: &FloatValue, c: &ConstTensor) -> Result<Vec<f32>, String> {
        v.constants(c, self.channels(&v.base))
    }
}

pub fn waiting(
    dims: Vec<usize>,
    pending: Pending,
    from_int: FromInt,
    order: Option<Rc<Vec<usize>>>,
) -> FloatValue {
    let chain = FloatChain::from_int(from_int);
    FloatValue { dims, base: Base::Pending(Rc::new(pending)), chain, order, int: None }
}

/// A constant input that may be missing.
pub fn optional<'c>(
    node: &Node,
    constants: &[Option<&'c ConstTensor>],
    i: usize,
    what: &str,
) -> Result<Option<&'c ConstTensor>, String> {
    match constants.get(i).copied().flatten() {
        Some(c) => Ok(Some(c)),
        None if node.inputs.get(i).is_some_and(|n| !n.is_empty()) => {
            Err(format!("its {what} is not constant"))
        }
        None => Ok(None),
    }
}

pub fn activation(inputs: &Inputs, i: usize) -> Result<FloatValue, String> {
    match inputs.get(i) {
        Some(Some(Value::Float(v))) => Ok(v.clone()),
        Some(Some(Value::Const(_))) => Err(format!("input {i} is constant")),
        Some(Some(Value::Host(_))) => Err("its input is computed by the host, behind the network".into()),
        _ => Err(format!("input {i} is missing")),
    }
}
