// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Convolutions and matrix products, in floats and in integers.

use super::arithmetic::short;
use super::constant::{float, int, ints, transpose_order, ConstData, ConstTensor};
use super::linear::LinearQuant;
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::activation;
use super::ops::optional;
use super::ops::waiting;
use super::ops::FLOAT_EXACT;
use super::ops::{Constants, Inputs};
use super::requants::conv_bounds;
use super::value::{
    image_order, odd_part, Base, ConvTemplate, FloatValue, IntegerView, Pending, PendingOp, WindowTemplate,
};
use super::windows::pair;
use super::windows::window;
use crate::host::{FloatChain, FloatStep, FromInt, IntStep};
use crate::ir::{IntType, TensorId, Weights};

/// The factors of a matrix product: an activation times constant weights.
fn factors<'c>(inputs: &Inputs, constants: &'c Constants) -> Result<(FloatValue, &'c ConstTensor), String> {
    let v = activation(inputs, 0)
        .map_err(|_| "a constant times an activation; only the other way is supported")?;
    let w = constants.get(1).copied().flatten().ok_or("the product of two activations is not supported")?;
    Ok((v, w))
}

/// Refuses a Gemm with factors or with a transposed activation.
pub fn check_plain(node: &Node) -> Result<(), String> {
    let plain = float(node, "alpha", 1.0)? == 1.0 && float(node, "beta", 1.0)? == 1.0;
    match plain && int(node, "transA", 0)? == 0 {
        true => Ok(()),
        false => Err("alpha, beta other than 1 and transA are not supported".into()),
    }
}

impl Importer<'_> {
    /// ConvInteger and MatMulInteger: int32 sums.
    pub fn integer_product(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
        let conv = node.op == "ConvInteger";
        let zero = |i: usize| match optional(node, constants, i, "zero point")? {
            Some(t) => Ok::<_, String>(t.integers()?.to_vec()),
            None => Ok(vec![0]),
        };
        let (zx, zw) = (zero(2)?, zero(3)?);
        let [zx] = zx[..] else { return Err("zero points that differ from row to row".into()) };
        let scale = ConstTensor::new(vec![zw.len()], ConstData::F32(vec![1.0; zw.len()]))?;
        let mut zeros = ConstTensor::new(vec![zw.len()], ConstData::I64(zw))?;
        zeros.int = Some(IntType::RAW);
        let q = LinearQuant::new(&scale, Some(&zeros), if conv { 0 } else { -1 })?;
        let w = q.dequantize_constant(w)?;
        let mut v = self.integer_codes(&format!("{}_input", node.name), v)?;
        v.chain.integer.push(IntStep::Add(vec![-zx]));
        v.int = Some(IntType { bits: 64, signed: true });
        let product = if conv { self.convolution(node, v, &w, None)? } else { self.matmul_by(node, v, &w)? };
        let from_int = product.chain.from_int.ok_or("its sums are no integers")?;
        let integer = vec![IntStep::Mul(vec![from_int.factor]), IntStep::Add(from_int.offset)];
        let chain = FloatChain::integers(integer);
        let result = FloatValue { chain, int: Some(IntType::RAW), ..product };
        self.integer_range(&result)?;
        Ok(result)
    }

    /// Notes a node whose float sums the reference rounds on the way.
    pub fn note_rounding(&mut self, node: &Node, largest: u64) {
        if largest > FLOAT_EXACT && !self.rounded.contains(&node.name) {
            self.rounded.push(node.name.clone());
        }
    }

    /// A 1-D or 2-D convolution with constant weights `[oc, ic / groups, (kh,) kw]` and bias.
    pub fn convolution(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        bias: Option<&ConstTensor>,
    ) -> Result<FloatValue, String> {
        let (v, _) = self.as_image(&node.name, v)?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let [oc, icg, kh, kw] = match w.dims[..] {
            [oc, icg, kh, kw] if v.dims.len() == 4 => [oc, icg, kh, kw],
            [oc, icg, kw] if v.dims.len() == 3 => [oc, icg, 1, kw],
            _ => {
                return Err(format!(
                    "input of shape {:?}, weights of shape {:?}; 1-D and 2-D convolutions are supported",
                    v.dims, w.dims
                ))
            }
        };
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
        if ints(node, "kernel_shape")?.is_some() && pair(node, "kernel_shape")? != [kh, kw] {
            return Err(format!("another kernel_shape than weights of shape {:?}", w.dims));
        }
        // [oc][ic][ky][kx] -> [oc][ky][kx][ic]
        let picks = transpose_order(&[oc, icg, kh, kw], &[0, 2, 3, 1]);
        let (weights, scales) = integer_weights(w, &picks, [oc, kh, kw, icg])?;
        let linear = w.quant.as_ref().is_some_and(|q| q.linear);
        let result = self.dense(node, t, &views, weights, scales, window, dilation, groups, linear)?;
        let mut dims = v.dims.clone();
        dims[1] = oc;
        match dims.len() {
            3 => dims[2] = result.shape[1],
            _ => (dims[2], dims[3]) = (result.shape[0], result.shape[1]),
        }
        let order = image_order(result.shape);
        let v = waiting(dims, result.pending, result.from_int, order);
        self.biased_channels(v, bias, oc, &(0..oc).collect::<Vec<_>>())
    }

    /// Adds a bias of `oc` elements; channel i takes element `picks[i]`.
    pub fn biased_channels(
        &self,
        v: FloatValue,
        bias: Option<&ConstTensor>,
        oc: usize,
        picks: &[usize],
    ) -> Result<FloatValue, String> {
        let Some(bias) = bias else { return Ok(v) };
        if bias.len() != oc {
            return Err(format!("{} biases for {oc} channels", bias.len()));
        }
        let mut shape = vec![1; v.dims.len()];
        shape[1] = picks.len();
        self.biased(v, &bias.gather(shape, picks))
    }

    /// Adds a constant: to the integers where it is made of integers in the sum's own scale.
    fn biased(&self, v: FloatValue, bias: &ConstTensor) -> Result<FloatValue, String> {
        let mut v = v;
        if let (Base::Pending(p), Some(q), Some(from_int)) = (&v.base, &bias.quant, &v.chain.from_int) {
            let same = p.linear.as_ref().is_some_and(|own| {
                let close = |(i, s): (usize, &f32)| {
                    let own = own[if own.len() == 1 { 0 } else { i }];
                    (s / own - 1.0).abs() < 1e-4
                };
                q.linear && q.scales.len() == p.shape[2] && q.scales.iter().enumerate().all(close)
            });
            if same && q.integers.iter().all(|i| i.abs() <= i32::MAX as f64) {
                let integers = ConstTensor::new(
                    bias.dims.clone(),
                    ConstData::I64(q.integers.iter().map(|&i| i as i64).collect()),
                )?;
                let list = v.integer_constants(&integers, Some(p.shape[2]))?;
                let sum = |c: usize| {
                    let own = from_int.offset[if from_int.offset.len() == 1 { 0 } else { c }];
                    own + list[if list.len() == 1 { 0 } else { c }]
                };
                let offset = short((0..p.shape[2]).map(sum).collect());
                v.chain.from_int = Some(FromInt { offset, ..from_int.clone() });
                return Ok(v);
            }
        }
        let list = self.list(&v, bias)?;
        Ok(v.then(FloatStep::Add(list)))
    }

    pub fn matmul(
        &mut self,
        node: &Node,
        inputs: &Inputs,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let (v, w) = factors(inputs, constants)?;
        self.matmul_by(node, v, w)
    }

    pub fn matmul_by(&mut self, node: &Node, v: FloatValue, w: &ConstTensor) -> Result<FloatValue, String> {
        let &[k, n] = &w.dims[..] else {
            return Err(format!("weights of shape {:?}; two axes are supported", w.dims));
        };
        self.fully_connected(node, v, w, k, n)
    }

    pub fn gemm(
        &mut self,
        node: &Node,
        inputs: &Inputs,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let (v, w) = factors(inputs, constants)?;
        let bias = optional(node, constants, 2, "bias")?;
        self.gemm_by(node, v, w, bias)
    }

    pub fn gemm_by(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        bias: Option<&ConstTensor>,
    ) -> Result<FloatValue, String> {
        check_plain(node)?;
        let &[rows, columns] = &w.dims[..] else { return Err(format!("weights of shape {:?}", w.dims)) };
        let v = if int(node, "transB", 0)? != 0 {
            let turned = w.gather(vec![columns, rows], &transpose_order(&w.dims, &[1, 0]));
            self.fully_connected(node, v, &turned, columns, rows)?
        } else {
            self.fully_connected(node, v, w, rows, columns)?
        };
        match bias {
            None => Ok(v),
            Some(bias) => self.biased(v, bias),
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
        let v = self.no_input(v)?;
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
        let linear = w.quant.as_ref().is_some_and(|q| q.linear);
        let result = self.dense(node, t, &views, weights, scales, window, [1, 1], 1, linear)?;
        Ok(waiting(dims, result.pending, result.from_int, None))
    }

    /// A convolution of integers; its reals are `(factor * acc + offset) * scale`.
    #[allow(clippy::too_many_arguments)]
    pub fn dense(
        &mut self,
        node: &Node,
        input: TensorId,
        views: &[IntegerView],
        weights: Weights,
        weight_scales: Vec<f32>,
        window: WindowTemplate,
        dilation: [usize; 2],
        groups: usize,
        linear: bool,
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
        let floats = matches!(node.op.as_str(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul");
        if largest > FLOAT_EXACT && self.at_end && floats {
            return Err("the reference's float sums, which nothing quantizes, are not exact".into());
        }
        if !linear {
            self.note_rounding(node, largest);
        }
        let linear = linear.then(|| {
            let product = |(o, s): (usize, &f32)| view(o).scale * s;
            weight_scales.iter().enumerate().map(product).collect::<Vec<_>>()
        });
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
        check_activation(&shape)?;
        let conv = ConvTemplate { input, weights, window, dilation, groups, pad_code: pad_code as i32 };
        let pending = Pending { name: node.name.clone(), op: PendingOp::Conv(conv), shape, bounds, linear };
        let from_int = FromInt { factor: view(0).factor, offset: short(offset), scale: short(scale) };
        Ok(Dense { pending, from_int, shape })
    }

    /// The code of the real value 0, which padding carries.
    pub fn zero_code(&self, input: TensorId, views: &[IntegerView]) -> Result<i64, String> {
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
}

pub struct Dense {
    pub pending: Pending,
    pub from_int: FromInt,
    pub shape: [usize; 3],
}

/// Integers `[oc][..]` picked from a weight tensor, and the scale of each output channel.
pub fn integer_weights(
    w: &ConstTensor,
    picks: &[usize],
    shape: [usize; 4],
) -> Result<(Weights, Vec<f32>), String> {
    let floats = w.floats()?;
    let terms = shape[1..].iter().product::<usize>();
    if picks.len() != shape[0] * terms || terms == 0 {
        return Err(format!("weights of shape {:?} do not fit", w.dims));
    }
    let integer = |i: usize| w.quant.as_ref().map_or(floats[i] as f64, |q| q.integers[i]);
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
