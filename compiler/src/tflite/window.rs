// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Convolutions and dense layers.

use super::fixed::Multiplier;
use super::flatbuffer::Table;
use super::lower::{image, Border, Importer, Quant, Result, Value};
use super::model::{ElementType, Operator};
use super::ops::{requant, Activation};
use crate::ir::*;
use crate::requant::{acc_bounds, identity};

/// How a window moves.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    same: bool,
}

impl Window {
    /// Rows, or columns, of the window with its gaps.
    fn extent(&self, axis: usize) -> Option<usize> {
        (self.kernel[axis].checked_sub(1)?).checked_mul(self.dilation[axis])?.checked_add(1)
    }

    /// `[top, left, bottom, right]` of SAME padding (the odd one comes last), and rows and columns of the output.
    pub fn pads(&self, size: [usize; 2]) -> Result<([usize; 4], [usize; 2])> {
        let (mut pads, mut out) = ([0; 4], [0; 2]);
        for axis in 0..2 {
            let extent = self.extent(axis).ok_or("its window is too large")?;
            let stride = self.stride[axis];
            if self.same {
                out[axis] = size[axis].div_ceil(stride);
                let reach = (out[axis] - 1).checked_mul(stride).and_then(|r| r.checked_add(extent));
                let total = reach.ok_or("its window is too large")?.saturating_sub(size[axis]);
                pads[axis] = total / 2;
                pads[axis + 2] = total - total / 2;
            } else {
                let room = size[axis].checked_sub(extent).ok_or("its window is larger than its input")?;
                out[axis] = room / stride + 1;
            }
        }
        Ok((pads, out))
    }
}

pub fn positive(value: i32, what: &str) -> Result<usize> {
    usize::try_from(value)
        .ok()
        .filter(|&v| v > 0)
        .ok_or_else(|| format!("{what} is {value}, must be positive"))
}

/// Padding and strides, the first three fields of all window operators' options.
pub fn moves(options: Table, kernel: [usize; 2], dilation: Option<usize>) -> Result<Window> {
    let same = match options.byte(0)? {
        0 => true,
        1 => false,
        n => return Err(format!("padding {n} is not known")),
    };
    let stride = [positive(options.int(2, 0)?, "stride")?, positive(options.int(1, 0)?, "stride")?];
    let dilation = match dilation {
        Some(field) => {
            [positive(options.int(field + 1, 1)?, "dilation")?, positive(options.int(field, 1)?, "dilation")?]
        }
        None => [1, 1],
    };
    Ok(Window { kernel, stride, dilation, same })
}

/// Weights, biases and scales of a layer, `[oc][kh][kw][ic/groups]`, zero point subtracted.
pub struct Layer {
    pub shape: [usize; 4],
    pub data: Vec<i32>,
    pub bias: Vec<i64>,
    /// 64-bit sums, rounded once.
    pub wide: bool,
    pub multipliers: Vec<Multiplier>,
    pub input: Quant,
    pub output: Quant,
}

/// Scales of the three tensors of a layer.
enum Scales {
    /// Products in float64 (convolutions of int8 and int16, all layers with a scale per channel).
    PerChannel,
    /// The product of input and weight scale in float32 (uint8 convolutions, dense layers).
    Single,
}

/// Groups of a convolution of `ic` channels.
pub fn groups(op: &Operator, layer: &Layer, ic: usize) -> Result<usize> {
    let [oc, _, _, icg] = layer.shape;
    let groups = match op.kind.as_str() {
        "DEPTHWISE_CONV_2D" => ic,
        _ => ic / icg,
    };
    match groups == 0 || groups * icg != ic || oc % groups != 0 {
        true => Err(format!("{ic} input channels do not go with weights for {icg} and {oc} output channels")),
        false => Ok(groups),
    }
}

impl<'m> Importer<'m> {
    pub fn conv_2d(&mut self, op: &Operator<'m>) -> Result<()> {
        let (window, layer, activation) = self.conv_parts(op)?;
        self.conv(op, window, layer, activation)
    }

    pub fn conv_parts(&mut self, op: &Operator<'m>) -> Result<(Window, Layer, Activation)> {
        let options = op.options.ok_or("it has no options")?;
        let w = self.input_tensor(op, 1)?;
        let &[oc, kh, kw, icg] = &self.model.tensors[w].dims[..] else {
            return Err("its weights must have 4 dimensions".into());
        };
        let window = moves(options, [kh, kw], Some(4))?;
        let activation = Activation::read(op.options, 3)?;
        let layer = self.layer(op, [oc, kh, kw, icg], 0, |o, k, i| (o * kh * kw + k) * icg + i)?;
        Ok((window, layer, activation))
    }

    pub fn depthwise_conv_2d(&mut self, op: &Operator<'m>) -> Result<()> {
        let (window, layer, activation) = self.depthwise_parts(op)?;
        self.conv(op, window, layer, activation)
    }

    pub fn depthwise_parts(&mut self, op: &Operator<'m>) -> Result<(Window, Layer, Activation)> {
        let options = op.options.ok_or("it has no options")?;
        let w = self.input_tensor(op, 1)?;
        let &[1, kh, kw, oc] = &self.model.tensors[w].dims[..] else {
            return Err("its weights must have 4 dimensions, the first of them 1".into());
        };
        let window = moves(options, [kh, kw], Some(5))?;
        let activation = Activation::read(op.options, 4)?;
        let layer = self.layer(op, [oc, kh, kw, 1], 3, |o, k, _| k * oc + o)?;
        Ok((window, layer, activation))
    }

    pub fn fully_connected(&mut self, op: &Operator<'m>) -> Result<()> {
        if op.options.map_or(Ok(0), |o| o.byte(1))? != 0 {
            return Err("shuffled weights are not supported; convert the model again".into());
        }
        let (x, w, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let &[oc, ic] = &self.model.tensors[w].dims[..] else {
            return Err("its weights must have 2 dimensions".into());
        };
        let activation = Activation::read(op.options, 0)?;
        let count = self.model.tensors[x].count();
        if ic == 0 || oc == 0 || !count.is_multiple_of(ic) || self.model.tensors[y].count() != count / ic * oc
        {
            return Err(format!(
                "its weights are {oc} x {ic}, its input has {count} elements and its output {}",
                self.model.tensors[y].count()
            ));
        }
        let layer = self.layer(op, [oc, 1, 1, ic], 0, |o, _, i| o * ic + i)?;
        let input = self.reshaped(&format!("{}_flat", op.name), op, [1, count / ic, ic])?;
        let (weights, requant) = layer.requantized(activation)?;
        let shape = [1, count / ic, oc];
        let output = self.new_tensor(&self.model.tensors[y].name, shape, layer.output)?;
        let (stride, pads) = ([1, 1], [0; 4]);
        let pad_code = layer.input.zero_point;
        let conv =
            Conv { input, output, weights, stride, dilation: [1, 1], pads, pad_code, groups: 1, requant };
        self.node(&op.name, Op::Conv(conv));
        self.finish_shape(&format!("{}_shape", op.name), y, output)
    }

    /// The input's codes in another shape of as many elements.
    fn reshaped(&mut self, name: &str, op: &Operator, shape: [usize; 3]) -> Result<TensorId> {
        let input = self.codes(op, 0)?;
        if self.graph.tensors[input].shape == shape {
            return Ok(input);
        }
        let quant = self.quant(self.input_tensor(op, 0)?)?;
        let output = self.new_tensor(name, shape, quant)?;
        self.node(name, Op::Reshape(Reshape { input, output }));
        Ok(output)
    }

    /// Gives the model's tensor `y` the elements of `from`, reshaped where that is needed.
    pub fn finish_shape(&mut self, name: &str, y: usize, from: TensorId) -> Result<()> {
        let shape = image(&self.model.tensors[y].dims);
        let id = match self.graph.tensors[from].shape == shape {
            true => from,
            false => {
                let output = self.new_tensor(name, shape, self.quant(y)?)?;
                self.node(name, Op::Reshape(Reshape { input: from, output }));
                output
            }
        };
        self.values[y] = Value::Codes(id);
        Ok(())
    }

    /// `place(o, tap, i)`: where the weight of output channel o, kernel position and input channel i stands.
    pub fn layer(
        &mut self,
        op: &Operator,
        shape: [usize; 4],
        axis: i32,
        place: impl Fn(usize, usize, usize) -> usize,
    ) -> Result<Layer> {
        let (x, w, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let (input, output) = (self.quant(x)?, self.quant(y)?);
        let weights = &self.model.tensors[w];
        let allowed: &[ElementType] = match (input.ty.signed, output.ty == input.ty) {
            (_, false) => return Err("its input and output must have one type".into()),
            (true, _) => &[ElementType::Int8, ElementType::Int4],
            (false, _) => &[ElementType::Uint8],
        };
        if !allowed.contains(&weights.ty) {
            let (a, b) = (self.model.tensors[x].ty.name(), weights.ty.name());
            return Err(format!("{a} activations with {b} weights are not supported"));
        }
        let [oc, kh, kw, icg] = shape;
        let codes = self.constant(w)?;
        if codes.len() != oc * kh * kw * icg || codes.is_empty() {
            return Err("its weights are empty".into());
        }
        let zero = self.weight_zero_point(op, w, oc)?;
        let dense = (0..oc).flat_map(|o| (0..kh * kw).flat_map(move |k| (0..icg).map(move |i| (o, k, i))));
        let data = dense.map(|(o, k, i)| codes[place(o, k, i)] as i32 - zero).collect();
        let scales = match op.kind == "FULLY_CONNECTED" || !input.ty.signed {
            true => Scales::Single,
            false => Scales::PerChannel,
        };
        let multipliers = self.multipliers(w, oc, axis, scales, &input, &output)?;
        let bias = self.bias(op, oc)?;
        let wide_bias = op
            .inputs
            .get(2)
            .copied()
            .flatten()
            .is_none_or(|b| self.model.tensors[b].ty == ElementType::Int64);
        let wide = input.ty.bits == 16 && wide_bias;
        Ok(Layer { shape, data, bias, wide, multipliers, input, output })
    }

    fn weight_zero_point(&self, op: &Operator, w: usize, oc: usize) -> Result<i32> {
        let tensor = &self.model.tensors[w];
        let zeros = &tensor.quantization.zero_point;
        if zeros.iter().all(|&z| z == 0) {
            return Ok(0);
        }
        let single = zeros.len() == 1 && (tensor.ty == ElementType::Uint8 || op.kind == "FULLY_CONNECTED");
        let limits = if tensor.ty == ElementType::Uint8 { 0..=255 } else { -128..=127 };
        match single && limits.contains(&zeros[0]) {
            true => Ok(zeros[0] as i32),
            false => Err(format!("the zero points of its {oc} weight channels must be 0")),
        }
    }

    fn multipliers(
        &self,
        w: usize,
        oc: usize,
        axis: i32,
        scales: Scales,
        input: &Quant,
        output: &Quant,
    ) -> Result<Vec<Multiplier>> {
        let q = &self.model.tensors[w].quantization;
        if q.scale.len() != 1 && (q.scale.len() != oc || q.axis != axis) {
            return Err(format!(
                "its weights have {} scales along axis {}, must have 1, or {oc} along axis {axis}",
                q.scale.len(),
                q.axis
            ));
        }
        if let Some(s) = q.scale.iter().find(|s| !(s.is_finite() && **s >= 0.0)) {
            return Err(format!("its weights have scale {s}"));
        }
        let quotient = |&s: &f32| match scales {
            Scales::Single if q.scale.len() == 1 => (input.scale * s) as f64 / output.scale as f64,
            _ => input.scale as f64 * s as f64 / output.scale as f64,
        };
        let all = q.scale.iter().map(|s| Multiplier::new(quotient(s))).collect::<Result<Vec<_>>>()?;
        Ok(if all.len() == 1 { vec![all[0]; oc] } else { all })
    }

    fn bias(&mut self, op: &Operator, oc: usize) -> Result<Vec<i64>> {
        let Some(b) = op.inputs.get(2).copied().flatten() else { return Ok(vec![0; oc]) };
        let tensor = &self.model.tensors[b];
        if !matches!(tensor.ty, ElementType::Int32 | ElementType::Int64) || tensor.count() != oc {
            return Err(format!("its bias must be {oc} integers of 32 or 64 bits"));
        }
        let values = self.constant(b)?;
        // Kernels sum in 32 or 48 bits.
        match values.iter().find(|v| v.unsigned_abs() >= 1 << 47) {
            Some(v) => Err(format!("its bias {v} does not fit 48 bits")),
            None => Ok(values),
        }
    }

    fn conv(&mut self, op: &Operator<'m>, window: Window, layer: Layer, act: Activation) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let oc = layer.shape[0];
        let (border, [h, w, ic]) = self.bordered(op, x, &window, layer.input.zero_point)?;
        let (pads, out) = window.pads([h, w])?;
        self.check_shape(y, &[1, out[0], out[1], oc])?;
        let groups = groups(op, &layer, ic)?;
        let (weights, requant) = layer.requantized(act)?;
        let output = self.new_codes(y)?;
        let pads = std::array::from_fn(|i| pads[i] + border.pads[i]);
        let conv = Conv {
            input: border.tensor,
            output,
            weights,
            stride: window.stride,
            dilation: window.dilation,
            pads,
            pad_code: layer.input.zero_point,
            groups,
            requant,
        };
        self.node(&op.name, Op::Conv(conv));
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    /// A window operator's input, with the border that it takes over as padding, and its size with that border.
    pub fn bordered(
        &mut self,
        op: &Operator,
        x: usize,
        window: &Window,
        code: i32,
    ) -> Result<(Border, [usize; 3])> {
        let &[1, h, w, c] = &self.model.tensors[x].dims[..] else {
            return Err(format!(
                "its input has shape {:?}, must be [1, height, width, channels]",
                self.model.tensors[x].dims
            ));
        };
        if h * w * c == 0 {
            return Err("its input is empty".into());
        }
        if let Value::Padded(border) = self.values[x] {
            let own = window.pads([h, w])?.0;
            let small = (0..4).all(|i| window.extent(i % 2).is_some_and(|e| border.pads[i] + own[i] < e));
            if border.code == code && small {
                return Ok((border, [h, w, c]));
            }
        }
        let tensor = self.codes(op, 0)?;
        Ok((Border { tensor, pads: [0; 4], code }, [h, w, c]))
    }

    /// The file's shape of an output is the one that follows from its operator.
    pub fn check_shape(&self, y: usize, dims: &[usize]) -> Result<()> {
        let found = &self.model.tensors[y].dims;
        match found == dims {
            true => Ok(()),
            false => Err(format!("its output has shape {found:?}, must have {dims:?}")),
        }
    }

    /// A border as codes: a convolution of a single 1 per channel, in a window that is larger than each pad.
    pub fn make_border(&mut self, name: &str, t: usize, border: Border) -> Result<TensorId> {
        let output = self.new_codes(t)?;
        let channels = self.graph.tensors[border.tensor].shape[2];
        let [top, left, bottom, right] = border.pads;
        let kernel = [top + bottom + 1, left + right + 1];
        let count = kernel[0].checked_mul(kernel[1]).and_then(|k| k.checked_mul(channels));
        self.take_constants(count.ok_or("its border is too wide")?)?;
        let mut one = vec![0; kernel[0] * kernel[1]];
        one[bottom * kernel[1] + right] = 1;
        let data = std::iter::repeat_n(one, channels).flatten().collect();
        let ty = IntType { bits: 1, signed: false };
        let weights = Weights { shape: [channels, kernel[0], kernel[1], 1], data, ty, bipolar: false };
        let quant = self.quant(t)?;
        let conv = Conv {
            input: border.tensor,
            output,
            weights,
            stride: [1, 1],
            dilation: [1, 1],
            // Each side reaches so far beyond the border that the window's 1 meets every position once.
            pads: [top + bottom, left + right, bottom + top, right + left],
            pad_code: border.code,
            groups: channels,
            requant: copying(channels, &quant),
        };
        self.node(name, Op::Conv(conv));
        Ok(output)
    }
}

/// Accumulators as codes.
pub fn copying(channels: usize, quant: &Quant) -> Requant {
    let channels = vec![identity(Rounding::Floor); channels];
    let requant = requant(channels, Rounding::Floor, quant, quant.range());
    Requant { zero_point: 0, ..requant }
}

impl Layer {
    /// Weights and requantization of the machine: the input's zero point goes into the bias, scales of 1 and more into the
    /// weights.
    pub fn requantized(&self, activation: Activation) -> Result<(Weights, Requant)> {
        let oc = self.shape[0];
        let clamp = activation.clamp(&self.output)?;
        let taps = self.shape[1..].iter().product::<usize>();
        let plain = Weights {
            shape: self.shape,
            data: self.data.clone(),
            ty: IntType { bits: 16, signed: true },
            bipolar: false,
        };
        let bounds = acc_bounds(&plain, self.input.ty.range());
        let mut data = self.data.clone();
        let (mut channels, mut rounding) = (Vec::with_capacity(oc), Rounding::TfLite);
        for (c, w) in data.chunks_mut(taps).enumerate() {
            let sum = w.iter().map(|&w| w as i64).sum::<i64>();
            let bias = self.bias[c] - self.input.zero_point as i64 * sum;
            let m = self.multipliers[c];
            let left = m.exponent.max(0) as u32;
            let limit = if self.wide { 47 } else { 31 };
            let overflow =
                |v: i64| v.checked_shl(left).is_none_or(|s| s >> left != v || s.unsigned_abs() >= 1 << limit);
            if overflow(bounds[c].0 + bias) || overflow(bounds[c].1 + bias) {
                return Err(format!(
                    "channel {c}: sums of {} to {} times 2^{left} overflow the kernel's {} bits",
                    bounds[c].0 + bias,
                    bounds[c].1 + bias,
                    limit + 1
                ));
            }
            let bias = i32::try_from(bias << left)
                .map_err(|_| format!("channel {c}: bias {bias} times 2^{left} does not fit 32 bits"))?;
            let unit = Multiplier { mantissa: m.mantissa, exponent: m.exponent.min(0) };
            let params = if self.wide { unit.params_wide(bias) } else { unit.params(bias) };
            let (params, found) = params.ok_or("its scales have no multiplier")?;
            rounding = found;
            channels.push(params);
            w.iter_mut().for_each(|w| *w <<= left);
        }
        let (lo, hi) = data.iter().fold((0, 0), |(l, h), &w| (l.min(w), h.max(w)));
        let ty = IntType::holding(lo as i64, hi as i64);
        if ty.bits > 16 {
            return Err(format!(
                "its output scale is so fine that weights would need {} bits; at most 16 are supported",
                ty.bits
            ));
        }
        let weights = Weights { shape: self.shape, data, ty, bipolar: false };
        Ok((weights, requant(channels, rounding, &self.output, clamp)))
    }
}
