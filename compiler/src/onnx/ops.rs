// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators on activations: what each makes of its input's base, chain and shape.

use super::constant::{float, int, ints, new_shape, permutation, shape_of, text, transpose_order};
use super::constant::{ConstData, ConstTensor};
use super::emit::{conv_bounds, CodeSpec, MAX_FACTOR};
use super::lower::Importer;
use super::model::Node;
use super::value::{
    image_order, odd_part, Base, ConvTemplate, FloatValue, IntegerView, Pending, PendingOp, QuantKind,
    Quantizer, Value, WindowTemplate,
};
use crate::host::{FloatChain, FloatStep, FromInt};
use crate::ir::{Concat, IntType, Op, TensorId, Weights};
use std::rc::Rc;

type Inputs = [Option<Value>];
type Constants<'a> = [Option<&'a ConstTensor>];

/// Sums of exact products stay exact in float32 below this.
const FLOAT_EXACT: u64 = 1 << 24;

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
            "Cast" if int(node, "to", 0)? == 1 => return floats(x()?),
            "Transpose" => return floats(transpose(node, x()?)?),
            _ => {}
        }
        floats(match node.op.as_str() {
            "Quant" | "IntQuant" | "BipolarQuant" => self.quantize(node, x()?, constants)?,
            "Relu" => x()?.then(FloatStep::Max(vec![0.0])),
            "Neg" => x()?.then(FloatStep::Mul(vec![-1.0])),
            "Clip" => self.clip(node, x()?, constants)?,
            "BatchNormalization" => self.batch_norm(node, x()?, constants)?,
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" => self.arithmetic(node, inputs, constants)?,
            "Conv" => self.convolution(node, x()?, constants)?,
            "MatMul" => self.matmul(node, inputs, constants)?,
            "Gemm" => self.gemm(node, inputs, constants)?,
            "MaxPool" | "GlobalMaxPool" => self.pool_max(node, x()?)?,
            "AveragePool" | "GlobalAveragePool" => self.pool_average(node, x()?)?,
            "Concat" => self.concat(node, inputs)?,
            _ => return Err("not supported on activations".into()),
        })
    }

    fn list(&self, v: &FloatValue, c: &ConstTensor) -> Result<Vec<f32>, String> {
        v.constants(c, self.channels(&v.base))
    }

    fn quantize(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let quantizer = Quantizer::of(node, constants)?;
        let (steps, clamp, ty, map) = quantizer.steps(|c| self.list(&v, c))?;
        let mut chained = v;
        chained.chain.steps.extend(steps);
        let name = node.outputs.first().cloned().unwrap_or_default();
        let mut codes = self.codes(&name, &chained, CodeSpec { ty, clamp, map })?;
        codes.chain.steps = quantizer.back(|c| self.list(&codes, c))?;
        if matches!(quantizer.kind, QuantKind::Bipolar) {
            codes.chain.from_int = Some(FromInt { factor: 2, offset: vec![-1], scale: vec![1.0] });
        }
        if let Base::Codes(t) = codes.base {
            self.describe(t, &codes.chain);
        }
        Ok(codes)
    }

    /// Scale and zero point of a tensor, for people.
    fn describe(&mut self, t: TensorId, chain: &FloatChain) {
        if let Some(view) = IntegerView::of(chain, 0, self.ranges[t]).filter(|v| v.factor == 1) {
            self.graph.tensors[t].scale = view.scale as f64;
            self.graph.tensors[t].zero_point = -view.offset as i32;
        }
    }

    fn clip(&self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let mut v = v;
        for (i, name) in [(1, "min"), (2, "max")] {
            let given = node.inputs.get(i).is_some_and(|n| !n.is_empty());
            let bound = match constants.get(i).copied().flatten() {
                Some(c) => Some(c.scalar()?),
                None if given => return Err(format!("the {name} bound is not constant")),
                None => node.attributes.contains_key(name).then(|| float(node, name, 0.0)).transpose()?,
            };
            if let Some(b) = bound.filter(|b| b.is_finite() && b.abs() < f32::MAX) {
                v = v.then(if i == 1 { FloatStep::Max(vec![b]) } else { FloatStep::Min(vec![b]) });
            }
        }
        Ok(v)
    }

    /// `x * (scale / sqrt(var + eps)) + (bias - mean * that)`, in ONNX Runtime's order of float32 operations.
    fn batch_norm(&self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        if int(node, "training_mode", 0)? != 0 || int(node, "spatial", 1)? == 0 {
            return Err("training mode and per-pixel statistics are not supported".into());
        }
        let epsilon = float(node, "epsilon", 1e-5)?;
        let channels = *v.dims.get(1).ok_or("needs at least two dimensions")?;
        let arg = |i: usize| {
            let t = constants.get(i).copied().flatten().ok_or(format!("input {i} is not constant"))?;
            let floats = t.floats()?;
            if floats.len() == channels {
                Ok(floats)
            } else {
                Err(format!("input {i} has {} elements for {channels} channels", floats.len()))
            }
        };
        let (scale, bias, mean, var) = (arg(1)?, arg(2)?, arg(3)?, arg(4)?);
        let factor = (0..channels).map(|c| scale[c] * (1.0 / (var[c] + epsilon).sqrt())).collect::<Vec<_>>();
        let offset = (0..channels).map(|c| bias[c] - mean[c] * factor[c]).collect::<Vec<_>>();
        let mut dims = vec![1; v.dims.len()];
        dims[1] = channels;
        let list = |data| self.list(&v, &ConstTensor::new(dims.clone(), ConstData::F32(data))?);
        let steps = [FloatStep::Mul(list(factor)?), FloatStep::Add(list(offset)?)];
        let mut v = v;
        v.chain.steps.extend(steps);
        Ok(v)
    }

    /// A binary operator with one constant; or the sum of two activations.
    fn arithmetic(
        &mut self,
        node: &Node,
        inputs: &Inputs,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        if inputs.len() != 2 {
            return Err(format!("{} inputs; 2 are supported", inputs.len()));
        }
        let (v, c, swapped) = match (constants[0], constants[1]) {
            (None, Some(c)) => (activation(inputs, 0)?, c, false),
            (Some(c), None) => (activation(inputs, 1)?, c, true),
            _ if node.op == "Add" => return self.add(node, activation(inputs, 0)?, activation(inputs, 1)?),
            _ => return Err("two activations; only their sum is supported".into()),
        };
        let list = self.list(&v, c)?;
        Ok(v.then(match (node.op.as_str(), swapped) {
            ("Add", _) => FloatStep::Add(list),
            ("Mul", _) => FloatStep::Mul(list),
            ("Max", _) => FloatStep::Max(list),
            ("Min", _) => FloatStep::Min(list),
            ("Sub", false) => FloatStep::Sub(list),
            ("Sub", true) => FloatStep::SubFrom(list),
            ("Div", false) if list.contains(&0.0) => return Err("divides by 0".into()),
            ("Div", false) => FloatStep::Div(list),
            _ => return Err("a constant divided by an activation is not supported".into()),
        }))
    }

    /// Two quantized tensors whose scales are small multiples of a common one.
    fn add(&mut self, node: &Node, a: FloatValue, b: FloatValue) -> Result<FloatValue, String> {
        if a.dims != b.dims {
            return Err(format!("shapes {:?} and {:?} differ", a.dims, b.dims));
        }
        let (a, ta, va) = self.integers(&format!("{}_a", node.name), &a)?;
        let (b, tb, vb) = self.integers(&format!("{}_b", node.name), &b)?;
        if a.order != b.order || self.graph.tensors[ta].shape != self.graph.tensors[tb].shape {
            return Err("its inputs lie differently in memory".into());
        }
        let ([x], [y]) = (&va[..], &vb[..]) else {
            return Err("scales that differ from channel to channel".into());
        };
        let (fa, fb, scale) = common_scale(x.scale, y.scale).ok_or_else(|| {
            format!(
                "scales {} and {} are no small multiples of a common one; quantize both alike",
                x.scale, y.scale
            )
        })?;
        let (ia, ib) = (x.integers(self.ranges[ta]), y.integers(self.ranges[tb]));
        let largest = [ia.0, ia.1].map(|v| (v * fa).unsigned_abs()).into_iter().max().unwrap_or(0)
            + [ib.0, ib.1].map(|v| (v * fb).unsigned_abs()).into_iter().max().unwrap_or(0);
        self.note_rounding(node, largest * odd_part(scale as f32));
        let (factor_a, factor_b) = (fa * x.factor, fb * y.factor);
        let (ra, rb) = (self.ranges[ta], self.ranges[tb]);
        let bound = (factor_a * ra.0 + factor_b * rb.0, factor_a * ra.1 + factor_b * rb.1);
        let shape = self.graph.tensors[ta].shape;
        let (factor_a, factor_b) = (factor_a as i32, factor_b as i32);
        let op = PendingOp::Add { a: ta, b: tb, factor_a, factor_b };
        let pending = Pending { name: node.name.clone(), op, shape, bounds: vec![bound] };
        let from_int = FromInt { factor: 1, offset: vec![fa * x.offset + fb * y.offset], scale: vec![scale] };
        Ok(waiting(a.dims, pending, from_int, a.order))
    }

    fn note_rounding(&mut self, node: &Node, largest: u64) {
        if largest > FLOAT_EXACT {
            self.notes.push(format!(
                "{}: the reference's own float32 sums are not exact here and depend on its order of additions; the exact \
                 sum, rounded once to float32, stands for them",
                node.name
            ));
        }
    }

    fn convolution(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let &[oc, icg, kh, kw] = &w.dims[..] else {
            return Err(format!("weights of shape {:?}; only 2-D convolutions are supported", w.dims));
        };
        if v.dims.len() != 4 {
            return Err(format!("input of shape {:?}; only 2-D convolutions are supported", v.dims));
        }
        let groups =
            usize::try_from(int(node, "group", 1)?).ok().filter(|&g| g > 0).ok_or("group is not positive")?;
        let dilation = pair(node, "dilations")?;
        let window = window(node, &shape, Some([kh, kw]), dilation)?;
        if groups.checked_mul(icg) != Some(shape[2]) || oc % groups != 0 || oc == 0 {
            return Err(format!(
                "{groups} groups, weights {:?} and {} input channels do not fit",
                w.dims, shape[2]
            ));
        }
        if let Some(k) = ints(node, "kernel_shape")? {
            if k != [kh as i64, kw as i64] {
                return Err(format!("kernel_shape {k:?}, but weights of shape {:?}", w.dims));
            }
        }
        // [oc][ic][ky][kx] -> [oc][ky][kx][ic]
        let picks = transpose_order(&w.dims, &[0, 2, 3, 1]);
        let (weights, scales) = integer_weights(w, &picks, [oc, kh, kw, icg])?;
        let result = self.dense(node, t, &views, weights, scales, window, dilation, groups)?;
        let [h, wd, _] = result.shape;
        let v = waiting(vec![1, oc, h, wd], result.pending, result.from_int, image_order(result.shape));
        match constants.get(2).copied().flatten() {
            None if node.inputs.get(2).is_some_and(|n| !n.is_empty()) => {
                Err("its bias is not constant".into())
            }
            None => Ok(v),
            Some(bias) if bias.len() != oc => Err(format!("{} biases for {oc} channels", bias.len())),
            Some(bias) => {
                let bias = ConstTensor::new(vec![1, oc, 1, 1], ConstData::F32(bias.floats()?.to_vec()))?;
                let list = self.list(&v, &bias)?;
                Ok(v.then(FloatStep::Add(list)))
            }
        }
    }

    fn matmul(&mut self, node: &Node, inputs: &Inputs, constants: &Constants) -> Result<FloatValue, String> {
        let v = activation(inputs, 0)
            .map_err(|_| "a constant times an activation; only the other way is supported")?;
        let w =
            constants.get(1).copied().flatten().ok_or("the product of two activations is not supported")?;
        let &[k, n] = &w.dims[..] else {
            return Err(format!("weights of shape {:?}; two axes are supported", w.dims));
        };
        self.fully_connected(node, v, w, k, n)
    }

    fn gemm(&mut self, node: &Node, inputs: &Inputs, constants: &Constants) -> Result<FloatValue, String> {
        let v = activation(inputs, 0)
            .map_err(|_| "a constant times an activation; only the other way is supported")?;
        let w =
            constants.get(1).copied().flatten().ok_or("the product of two activations is not supported")?;
        let plain = float(node, "alpha", 1.0)? == 1.0 && float(node, "beta", 1.0)? == 1.0;
        if !plain || int(node, "transA", 0)? != 0 {
            return Err("alpha, beta other than 1 and transA are not supported".into());
        }
        let &[rows, columns] = &w.dims[..] else { return Err(format!("weights of shape {:?}", w.dims)) };
        let v = if int(node, "transB", 0)? != 0 {
            let turned = w.gather(vec![columns, rows], &transpose_order(&w.dims, &[1, 0]));
            self.fully_connected(node, v, &turned, columns, rows)?
        } else {
            self.fully_connected(node, v, w, rows, columns)?
        };
        match constants.get(2).copied().flatten() {
            None if node.inputs.get(2).is_some_and(|n| !n.is_empty()) => {
                Err("its bias is not constant".into())
            }
            None => Ok(v),
            Some(bias) => {
                let list = self.list(&v, bias)?;
                Ok(v.then(FloatStep::Add(list)))
            }
        }
    }

    /// `[.., k]` times `[k, n]`. One row may lie in any order in its tensor: the kernel is then the whole image. Several
    /// rows are pixels.
    fn fully_connected(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        k: usize,
        n: usize,
    ) -> Result<FloatValue, String> {
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = self.graph.tensors[t].shape;
        let rows = v.count() / k.max(1);
        if v.dims.last() != Some(&k) || k == 0 || n == 0 {
            return Err(format!("input of shape {:?} and weights of shape {:?} do not fit", v.dims, w.dims));
        }
        let mut dims = v.dims.clone();
        *dims.last_mut().expect("has a last axis") = n;
        let kernel = match rows {
            1 => [shape[0], shape[1]],
            _ if v.order.is_none() && shape[2] == k => [1, 1],
            _ => return Err("its rows do not lie as pixels in memory".into()),
        };
        // Weights [k][n] -> [n][position in the tensor].
        let mut position = vec![0; k];
        for i in 0..k {
            position[if rows == 1 { v.place(i) } else { i }] = i;
        }
        let picks = (0..n).flat_map(|o| position.iter().map(move |&i| i * n + o)).collect::<Vec<_>>();
        let (weights, scales) = integer_weights(w, &picks, [n, kernel[0], kernel[1], shape[2]])?;
        let window = WindowTemplate { kernel, stride: [1, 1], pads: [0; 4] };
        let result = self.dense(node, t, &views, weights, scales, window, [1, 1], 1)?;
        Ok(waiting(dims, result.pending, result.from_int, None))
    }

    /// A convolution of integers; its reals are `(factor * acc + offset) * scale`.
    #[allow(clippy::too_many_arguments)]
    fn dense(
        &mut self,
        node: &Node,
        input: TensorId,
        views: &[IntegerView],
        weights: Weights,
        weight_scales: Vec<f32>,
        window: WindowTemplate,
        dilation: [usize; 2],
        groups: usize,
    ) -> Result<Dense, String> {
        let [oc, kh, kw, icg] = weights.shape;
        let shape = self.graph.tensors[input].shape;
        let depthwise = groups == shape[2] && icg == 1;
        let same = views.windows(2).all(|p| p[0] == p[1]);
        if !same && !depthwise {
            return Err(
                "activation scales that differ from channel to channel need a depthwise convolution".into()
            );
        }
        let view = |o: usize| views[if same { 0 } else { o / (oc / groups) }];
        let pad_code = if window.pads == [0; 4] {
            0i64.clamp(self.ranges[input].0, self.ranges[input].1)
        } else {
            self.zero_code(input, views)?
        };
        let terms = kh * kw * icg;
        let mut offset = Vec::new();
        let mut scale = Vec::new();
        let mut largest = 0;
        for (o, w) in weights.data.chunks(terms).enumerate() {
            let view = view(o);
            let (lo, hi) = view.integers(self.ranges[input]);
            let size = w.iter().map(|&w| (w as i64).unsigned_abs()).sum::<u64>()
                * lo.unsigned_abs().max(hi.unsigned_abs());
            largest = largest.max(size.saturating_mul(odd_part(view.scale) * odd_part(weight_scales[o])));
            offset.push(view.offset * w.iter().map(|&w| w as i64).sum::<i64>());
            scale.push(view.scale as f64 * weight_scales[o] as f64);
        }
        self.note_rounding(node, largest);
        let bounds = conv_bounds(&weights, self.ranges[input], pad_code as i32);
        let out = |axis: usize| {
            let extent = (window.kernel[axis] - 1) * dilation[axis] + 1;
            let room = shape[axis] + window.pads[axis] + window.pads[axis + 2];
            Some(room.checked_sub(extent)? / window.stride[axis] + 1)
        };
        let (Some(h), Some(w)) = (out(0), out(1)) else {
            return Err("the kernel is larger than the image".into());
        };
        let shape = [h, w, oc];
        let conv = ConvTemplate { input, weights, window, dilation, groups, pad_code: pad_code as i32 };
        let pending = Pending { name: node.name.clone(), op: PendingOp::Conv(conv), shape, bounds };
        let from_int = FromInt { factor: view(0).factor, offset: short(offset), scale: short(scale) };
        Ok(Dense { pending, from_int, shape })
    }

    /// The code of the real value 0, which padding carries.
    fn zero_code(&self, input: TensorId, views: &[IntegerView]) -> Result<i64, String> {
        let codes = views.iter().map(|v| v.zero_code()).collect::<Option<Vec<_>>>();
        let ty: IntType = self.graph.tensors[input].ty;
        match codes.as_deref() {
            None => {
                Err("pads with 0, which bipolar (-1, +1) activations do not have; use 2-bit activations"
                    .into())
            }
            Some([first, rest @ ..]) if rest.iter().all(|c| c == first) && ty.contains(*first) => Ok(*first),
            Some(codes) => {
                Err(format!("pads with 0, which is no common code of its input (code {:?})", codes.first()))
            }
        }
    }

    fn pool_max(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let window = pool_window(node, &v, &shape)?;
        let out = pooled_shape(&shape, &window)?;
        let channels = if v.chain.width() == 1 { 1 } else { shape[2] };
        if (0..channels).any(|c| v.chain.direction(c) < 0) {
            return Err("its input falls where the integers rise (a negative factor); not supported".into());
        }
        let dims = vec![1, out[2], out[0], out[1]];
        let order = image_order(out);
        match &v.base {
            Base::Input(_) => Err("its input is not quantized".into()),
            Base::Codes(t) => {
                let name = node.outputs.first().cloned().unwrap_or_default();
                let t = self.max_pool(&node.name, &name, *t, &window, out);
                Ok(FloatValue { dims, base: Base::Codes(t), chain: v.chain, order })
            }
            Base::Pending(p) => {
                let (name, bounds) = (node.name.clone(), p.bounds.clone());
                let op = PendingOp::Max { inner: v.clone(), window };
                let base = Base::Pending(Rc::new(Pending { name, op, shape: out, bounds }));
                Ok(FloatValue { dims, base, chain: FloatChain::default(), order })
            }
        }
    }

    fn pool_average(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let window = pool_window(node, &v, &shape)?;
        let out = pooled_shape(&shape, &window)?;
        let [view] = views[..] else { return Err("scales that differ from channel to channel".into()) };
        if window.pads != [0; 4] {
            return Err("an average over padded positions is not supported".into());
        }
        let count = (window.kernel[0] * window.kernel[1]) as i64;
        let (lo, hi) = self.ranges[t];
        let (least, most) = view.integers((lo, hi));
        self.note_rounding(
            node,
            count as u64 * least.unsigned_abs().max(most.unsigned_abs()) * odd_part(view.scale),
        );
        let op = PendingOp::Sum { input: t, window };
        let pending =
            Pending { name: node.name.clone(), op, shape: out, bounds: vec![(count * lo, count * hi)] };
        let from_int = FromInt {
            factor: view.factor,
            offset: vec![count * view.offset],
            scale: vec![view.scale as f64],
        };
        let v = waiting(vec![1, out[2], out[0], out[1]], pending, from_int, image_order(out));
        Ok(v.then(FloatStep::Div(vec![count as f32])))
    }

    /// Channels of quantized tensors of one scale behind each other.
    fn concat(&mut self, node: &Node, inputs: &Inputs) -> Result<FloatValue, String> {
        let mut parts = Vec::new();
        for i in 0..inputs.len() {
            let v = activation(inputs, i).map_err(|_| "constants between activations are not supported")?;
            parts.push(self.integers(&format!("{}_{i}", node.name), &v)?);
        }
        let (first, _, views) = parts.first().ok_or("has no inputs")?.clone();
        let rank = first.dims.len() as i64;
        let axis = int(node, "axis", 1)?;
        if axis != 1 && axis != 1 - rank {
            return Err(format!("axis {axis}; only channels (axis 1) can be joined"));
        }
        let [view] = views[..] else { return Err("scales that differ from channel to channel".into()) };
        let (mut ids, mut channels, mut range) = (vec![], 0, (i64::MAX, i64::MIN));
        let image = first.image().ok_or("its input does not lie as an image in memory")?;
        for (v, t, views) in &parts {
            let shape = v.image().ok_or("its input does not lie as an image in memory")?;
            if shape[..2] != image[..2] || v.dims.len() != first.dims.len() {
                return Err(format!("shapes {:?} and {:?} do not fit", first.dims, v.dims));
            }
            if views[..] != [view] {
                return Err("its inputs have different scales or zero points; quantize all alike".into());
            }
            ids.push(*t);
            channels += shape[2];
            range = (range.0.min(self.ranges[*t].0), range.1.max(self.ranges[*t].1));
        }
        let types = ids.iter().map(|&t| self.graph.tensors[t].ty).collect::<Vec<_>>();
        if types.windows(2).any(|p| p[0] != p[1]) {
            return Err("its inputs have different integer types; quantize all alike".into());
        }
        let shape = [image[0], image[1], channels];
        let name = node.outputs.first().cloned().unwrap_or_default();
        let output = self.tensor(&name, shape, types[0], range);
        let requants = vec![None; ids.len()];
        self.node(&node.name, Op::Concat(Concat { inputs: ids, output, requants }));
        let mut dims = first.dims.clone();
        dims[1] = channels;
        Ok(FloatValue { dims, base: Base::Codes(output), chain: first.chain, order: image_order(shape) })
    }
}

struct Dense {
    pending: Pending,
    from_int: FromInt,
    shape: [usize; 3],
}

fn waiting(
    dims: Vec<usize>,
    pending: Pending,
    from_int: FromInt,
    order: Option<Rc<Vec<usize>>>,
) -> FloatValue {
    let chain = FloatChain { from_int: Some(from_int), steps: Vec::new() };
    FloatValue { dims, base: Base::Pending(Rc::new(pending)), chain, order }
}

fn activation(inputs: &Inputs, i: usize) -> Result<FloatValue, String> {
    match inputs.get(i) {
        Some(Some(Value::Float(v))) => Ok(v.clone()),
        Some(Some(Value::Const(_))) => Err(format!("input {i} is constant")),
        _ => Err(format!("input {i} is missing")),
    }
}

fn transpose(node: &Node, v: FloatValue) -> Result<FloatValue, String> {
    let perm = permutation(node, v.dims.len())?;
    let dims = perm.iter().map(|&p| v.dims[p]).collect();
    let picks = transpose_order(&v.dims, &perm);
    Ok(v.reordered(dims, &picks))
}

/// A list whose elements are all equal, as one.
fn short<T: PartialEq + Copy>(list: Vec<T>) -> Vec<T> {
    if list.windows(2).all(|p| p[0] == p[1]) {
        list[..1].to_vec()
    } else {
        list
    }
}

/// Integers `[oc][..]` picked from a weight tensor, and the scale of each output channel.
fn integer_weights(
    w: &ConstTensor,
    picks: &[usize],
    shape: [usize; 4],
) -> Result<(Weights, Vec<f32>), String> {
    let floats = w.floats()?;
    let terms = shape[1..].iter().product::<usize>();
    if picks.len() != shape[0] * terms || terms == 0 {
        return Err(format!("weights of shape {:?} do not fit", w.dims));
    }
    let integer = |i: usize| w.quant.as_ref().map_or(floats[i], |q| q.integers[i]);
    let scale = |i: usize| w.quant.as_ref().map_or(1.0, |q| q.scales[i]);
    let mut data = Vec::with_capacity(picks.len());
    for &i in picks {
        let v = integer(i);
        if v.fract() != 0.0 || v.abs() > 32768.0 {
            let what = if w.quant.is_some() { "its zero point is no integer" } else { "a Quant is missing" };
            return Err(format!("weight {v} is no integer of 16 bits: {what}"));
        }
        data.push(v as i32);
    }
    let scales = picks.chunks(terms).map(|c| scale(c[0])).collect::<Vec<_>>();
    if picks.chunks(terms).zip(&scales).any(|(c, &s)| c.iter().any(|&i| scale(i) != s)) {
        return Err("weight scales that differ within an output channel are not supported".into());
    }
    let (lo, hi) = (data.iter().min().copied().unwrap_or(0), data.iter().max().copied().unwrap_or(0));
    let ty = IntType::holding(lo as i64, hi as i64);
    if ty.bits > 16 {
        return Err(format!("weights from {lo} to {hi} need more than 16 bits"));
    }
    let bipolar = data.iter().all(|&v| v == 1 || v == -1);
    let ty = if bipolar { IntType { bits: 2, signed: true } } else { ty };
    Ok((Weights { shape, data, ty, bipolar }, scales))
}

/// `a = p * scale`, `b = q * scale` with small integers p and q; exact.
fn common_scale(a: f32, b: f32) -> Option<(i64, i64, f64)> {
    (1..=MAX_FACTOR).find_map(|p| {
        let scale = a as f64 / p as f64;
        let q = (b as f64 / scale).round();
        let exact = scale * p as f64 == a as f64 && q * a as f64 == b as f64 * p as f64;
        (exact && q >= 1.0 && q <= MAX_FACTOR as f64).then_some((p, q as i64, scale))
    })
}

/// A two-element attribute of positive numbers, `[1, 1]` when absent.
fn pair(node: &Node, name: &str) -> Result<[usize; 2], String> {
    let Some(list) = ints(node, name)? else { return Ok([1, 1]) };
    let bad = || format!("{name} {list:?}; two positive numbers are supported");
    let positive = |v: i64| usize::try_from(v).ok().filter(|&v| v > 0 && v < 1 << 16);
    match list[..] {
        [a, b] => Ok([positive(a).ok_or_else(bad)?, positive(b).ok_or_else(bad)?]),
        _ => Err(bad()),
    }
}

/// Kernel, stride and pads of a window operator.
fn window(
    node: &Node,
    shape: &[usize; 3],
    kernel: Option<[usize; 2]>,
    dilation: [usize; 2],
) -> Result<WindowTemplate, String> {
    let kernel = match kernel {
        Some(k) => k,
        None => {
            ints(node, "kernel_shape")?.ok_or("kernel_shape is missing")?;
            pair(node, "kernel_shape")?
        }
    };
    let stride = pair(node, "strides")?;
    let pads = match (text(node, "auto_pad", "NOTSET")?, ints(node, "pads")?) {
        ("NOTSET" | "", None) | ("VALID", _) => [0; 4],
        ("NOTSET" | "", Some(list)) => {
            let small = list.iter().map(|&p| usize::try_from(p).ok().filter(|&p| p < 1 << 16));
            let small = small.collect::<Option<Vec<_>>>();
            let small = small.and_then(|v| <[usize; 4]>::try_from(v).ok());
            small.ok_or_else(|| format!("pads {list:?}; four numbers, none negative, are supported"))?
        }
        (mode @ ("SAME_UPPER" | "SAME_LOWER"), _) => {
            let mut pads = [0; 4];
            for axis in 0..2 {
                let out = shape[axis].div_ceil(stride[axis]);
                let extent = kernel[axis].saturating_sub(1) * dilation[axis] + 1;
                let total = ((out - 1) * stride[axis] + extent).saturating_sub(shape[axis]);
                let less = total / 2;
                let (before, after) =
                    if mode == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                (pads[axis], pads[axis + 2]) = (before, after);
            }
            pads
        }
        (mode, _) => return Err(format!("auto_pad {mode} is unknown")),
    };
    if kernel.contains(&0) {
        return Err("the kernel is empty".into());
    }
    Ok(WindowTemplate { kernel, stride, pads })
}

/// Window of a pooling node; the global ones take the whole image.
fn pool_window(node: &Node, v: &FloatValue, shape: &[usize; 3]) -> Result<WindowTemplate, String> {
    if v.dims.len() != 4 {
        return Err(format!("input of shape {:?}; only 2-D pooling is supported", v.dims));
    }
    if node.op.starts_with("Global") {
        return Ok(WindowTemplate { kernel: [shape[0], shape[1]], stride: [1, 1], pads: [0; 4] });
    }
    if int(node, "ceil_mode", 0)? != 0
        || int(node, "storage_order", 0)? != 0
        || pair(node, "dilations")? != [1, 1]
    {
        return Err("ceil_mode, storage_order and dilations are not supported".into());
    }
    window(node, shape, None, [1, 1])
}

fn pooled_shape(shape: &[usize; 3], w: &WindowTemplate) -> Result<[usize; 3], String> {
    let out = |axis: usize| {
        let room = shape[axis] + w.pads[axis] + w.pads[axis + 2];
        Some(room.checked_sub(w.kernel[axis])? / w.stride[axis] + 1)
    };
    match (out(0), out(1)) {
        (Some(h), Some(x)) => Ok([h, x, shape[2]]),
        _ => Err(format!("the window {:?} is larger than the image", w.kernel)),
    }
}
