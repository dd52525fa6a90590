// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators that move codes: other shapes, borders, parts, joints.

use super::host::transposed;
use super::lower::{image, Border, Importer, Result, Value};
use super::model::Operator;
use super::window::copying;
use crate::ir::*;
use crate::tail::HostOp;

/// Elements that a transposition before other layers may have.
const MOST_PERMUTED: usize = 1024;

impl<'m> Importer<'m> {
    /// RESHAPE, SQUEEZE, EXPAND_DIMS: the shape stands at the output.
    pub fn reshape(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        if let Value::Shape = self.values[x] {
            return self.shape(op);
        }
        self.same_quant(x, y)?;
        if let Value::Host(v) = self.values[x] {
            self.check_count(x, y)?;
            self.host_node(op, y, HostOp::Reshape, vec![v]);
            return Ok(());
        }
        let [[h, w, from], [.., to]] = [x, y].map(|t| image(&self.model.tensors[t].dims));
        if self.at_end() && from != to && h * w > 1 {
            // other channels: on the machine each pixel would be gathered from several
            let v = self.host_value(x)?;
            self.check_count(x, y)?;
            self.host_node(op, y, HostOp::Reshape, vec![v]);
            return Ok(());
        }
        let id = self.codes(op, 0)?;
        self.give(op, y, id)
    }

    fn check_count(&self, x: usize, y: usize) -> Result<()> {
        let [from, to] = [x, y].map(|t| self.model.tensors[t].count());
        match from == to {
            true => Ok(()),
            false => Err(format!("its output has {to} elements, its input {from}")),
        }
    }

    /// Operators that move codes do not change what they mean.
    fn same_quant(&self, x: usize, y: usize) -> Result<()> {
        if matches!(self.values[x], Value::Host(_)) {
            return Ok(());
        }
        match self.quant(x)? == self.quant(y)? {
            true => Ok(()),
            false => Err("its input and output must have one type, scale and zero point".into()),
        }
    }

    /// A transposition that moves dimensions of size 1 only leaves all elements in place.
    pub fn transpose(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, order, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let order = self.constant(order)?;
        let dims = &self.model.tensors[x].dims;
        let axis = |&a: &i64| usize::try_from(if a < 0 { a + dims.len() as i64 } else { a }).ok();
        let order = order.iter().map(axis).collect::<Option<Vec<_>>>().unwrap_or_default();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if order.len() != dims.len() || sorted.iter().enumerate().any(|(i, &a)| i != a) {
            return Err("its permutation is not one of the input's dimensions".into());
        }
        self.check_moved(x)?;
        let moved = order.iter().filter(|&&a| dims[a] > 1).collect::<Vec<_>>();
        let in_place = moved.windows(2).all(|w| w[0] < w[1]);
        let (dims, places) = (dims.clone(), transposed(dims, &order));
        let expected = order.iter().map(|&a| dims[a]).collect::<Vec<_>>();
        self.check_shape(y, &expected)?;
        if in_place {
            return self.reshape(op);
        }
        self.same_quant(x, y)?;
        if self.at_end() || self.on_host(op, 0)?.is_some() {
            let v = self.host_value(x)?;
            return self.pick_on_host(op, y, v, places);
        }
        let input = self.codes(op, 0)?;
        self.permuted(op, y, input, &places)
            .map_err(|e| format!("permutation {order:?} of shape {dims:?} moves elements: {e}"))
    }

    /// A few codes in another order: a dense layer with a single 1 for each.
    fn permuted(&mut self, op: &Operator<'m>, y: usize, input: TensorId, places: &[usize]) -> Result<()> {
        let n = places.len();
        if n > MOST_PERMUTED {
            return Err(format!(
                "supported for at most {MOST_PERMUTED} elements before other layers, and for any number behind the last; \
                 keep height, width, channels in order"
            ));
        }
        self.take_constants(n * n)?;
        let [h, w, c] = self.graph.tensors[input].shape;
        let quant = self.quant(y)?;
        let flat = self.new_tensor(&format!("{}_flat", op.name), [1, 1, n], quant)?;
        let mut data = vec![0; n * n];
        places.iter().enumerate().for_each(|(to, from)| data[to * n + from] = 1);
        let weights =
            Weights { shape: [n, h, w, c], data, ty: IntType { bits: 1, signed: false }, bipolar: false };
        let (stride, dilation, pads) = ([1, 1], [1, 1], [0; 4]);
        let requant = copying(n, &quant);
        let conv =
            Conv { input, output: flat, weights, stride, dilation, pads, pad_code: 0, groups: 1, requant };
        self.node(&format!("{}_order", op.name), Op::Conv(conv));
        self.give(op, y, flat)
    }

    /// PAD with the zero point, PADV2 with a constant.
    pub fn pad(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, list, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        self.same_quant(x, y)?;
        let quant = self.quant(y)?;
        let code = match op.kind.as_str() {
            "PADV2" => {
                let value = self.input_tensor(op, 2)?;
                if self.quant(value)? != quant {
                    return Err("its value must have its input's type, scale and zero point".into());
                }
                match self.constant(value)?[..] {
                    [v] => v as i32,
                    _ => return Err("its value must be one number".into()),
                }
            }
            _ => quant.zero_point,
        };
        let dims = self.model.tensors[x].dims.clone();
        let pads = self.constant(list)?;
        if pads.len() != 2 * dims.len() || pads.iter().any(|&p| !(0..1 << 24).contains(&p)) {
            return Err(format!("its pads {pads:?} do not go with shape {dims:?}"));
        }
        let side = |axis: usize, end: usize| pads[2 * axis + end] as usize;
        let expected = (0..dims.len()).map(|a| side(a, 0) + dims[a] + side(a, 1)).collect::<Vec<_>>();
        self.check_shape(y, &expected)?;
        let n = dims.len();
        // Only the last three dimensions stand for rows, columns and channels.
        let outer = n.saturating_sub(3);
        if pads[..2 * outer].iter().any(|&p| p > 0) || dims[..outer].iter().any(|&d| d != 1) {
            return Err("pads along more than height, width and channels are not supported".into());
        }
        let at = |from_end: usize, end: usize| match n.checked_sub(from_end) {
            Some(axis) if axis >= outer => side(axis, end),
            _ => 0,
        };
        let channels = [at(1, 0), at(1, 1)];
        let border = [at(3, 0), at(2, 0), at(3, 1), at(2, 1)];
        if channels == [0, 0] {
            let (tensor, earlier) = match self.values[x] {
                Value::Padded(b) if b.code == code => (b.tensor, b.pads),
                _ => (self.codes(op, 0)?, [0; 4]),
            };
            let pads = std::array::from_fn(|i| border[i] + earlier[i]);
            self.values[y] = Value::Padded(Border { tensor, pads, code });
            return Ok(());
        }
        if border != [0; 4] {
            return Err("pads channels and rows or columns at once; use two operators".into());
        }
        self.pad_channels(op, y, channels[0], code)
    }

    /// More channels, of one code: a 1x1 convolution that copies the others.
    fn pad_channels(&mut self, op: &Operator<'m>, y: usize, first: usize, code: i32) -> Result<()> {
        let input = self.codes(op, 0)?;
        let output = self.new_codes(y)?;
        let (ic, oc) = (self.graph.tensors[input].shape[2], self.graph.tensors[output].shape[2]);
        self.take_constants(ic.checked_mul(oc).ok_or("it has too many channels")?)?;
        let mut data = vec![0; ic * oc];
        for i in 0..ic {
            data[(first + i) * ic + i] = 1;
        }
        let ty = IntType { bits: 1, signed: false };
        let weights = Weights { shape: [oc, 1, 1, ic], data, ty, bipolar: false };
        let mut requant = copying(oc, &self.quant(y)?);
        for c in (0..first).chain(first + ic..oc) {
            requant.channels[c].bias = code;
        }
        let (stride, dilation, pads) = ([1, 1], [1, 1], [0; 4]);
        let conv = Conv { input, output, weights, stride, dilation, pads, pad_code: 0, groups: 1, requant };
        self.node(&op.name, Op::Conv(conv));
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    pub fn resize_nearest(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        self.same_quant(x, y)?;
        let (&[1, h, w, c], &[1, oh, ow, oc]) =
            (&self.model.tensors[x].dims[..], &self.model.tensors[y].dims[..])
        else {
            return Err("its shapes must be [1, height, width, channels]".into());
        };
        let upsample = oh.checked_div(h).unwrap_or(0);
        if upsample == 0 || h * upsample != oh || w * upsample != ow || oc != c {
            return Err(format!(
                "{h}x{w} to {oh}x{ow}: only enlarging both sides by one whole factor is supported"
            ));
        }
        if upsample > 1 && op.options.map_or(Ok(false), |o| o.flag(0, false))? {
            return Err("align_corners is not supported; use half_pixel_centers or neither".into());
        }
        let input = self.codes(op, 0)?;
        let output = self.new_codes(y)?;
        self.node(&op.name, Op::Copy(Copy { input, output, first_channel: 0, upsample, requant: None }));
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    pub fn concatenation(&mut self, op: &Operator<'m>) -> Result<()> {
        let y = self.output_tensor(op)?;
        if op.inputs.iter().flatten().all(|&t| matches!(self.values[t], Value::Shape | Value::Constant)) {
            return self.shape(op);
        }
        if op.options.map_or(Ok(0), |o| o.byte(1))? != 0 {
            return Err("a fused activation is not supported here; use a separate operator".into());
        }
        let to = self.quant(y)?;
        let dims = self.model.tensors[y].dims.clone();
        let axis = op.options.map_or(Ok(0), |o| o.int(0, 0))? as i64;
        let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&a| a < dims.len()).ok_or("its axis does not exist")?;
        let hosted = |t: &Option<usize>| t.is_some_and(|t| matches!(self.values[t], Value::Host(_)));
        let channels = axis + 1 == dims.len();
        if op.inputs.iter().any(hosted) || (!channels && self.at_end()) {
            return self.concat_on_host(op, axis);
        }
        if !channels {
            return self.joined_rows(op, y, axis);
        }
        let [h, w, c] = image(&dims);
        let (mut inputs, mut requants, mut channels) = (vec![], vec![], 0);
        for i in 0..op.inputs.len() {
            let t = self.input_tensor(op, i)?;
            let from = self.quant(t)?;
            let id = self.codes(op, i)?;
            let shape = self.graph.tensors[id].shape;
            if shape[..2] != [h, w] || self.model.tensors[t].dims.len() != dims.len() || from.ty != to.ty {
                return Err(format!(
                    "its input {i} of shape {:?} does not fit {dims:?}",
                    self.model.tensors[t].dims
                ));
            }
            channels += shape[2];
            inputs.push(id);
            requants.push(None);
            if from == to {
                continue;
            }
            if from.ty != (IntType { bits: 8, signed: false }) {
                return Err(format!("its input {i} must have its output's scale and zero point"));
            }
            let name = format!("{}_input{i}", op.name);
            let scaled = self.new_tensor(&name, shape, to)?;
            self.function(&name, id, scaled, by_float(&from, &to))?;
            inputs[i] = scaled;
        }
        if channels != c {
            return Err(format!("its output has {c} channels, its inputs {channels}"));
        }
        let output = self.new_codes(y)?;
        self.node(&op.name, Op::Concat(Concat { inputs, output, requants }));
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    /// Parts behind each other in memory: along the first axis that is larger than 1.
    fn joined_rows(&mut self, op: &Operator<'m>, y: usize, axis: usize) -> Result<()> {
        let (dims, to) = (self.model.tensors[y].dims.clone(), self.quant(y)?);
        if dims[..axis].iter().any(|&d| d != 1) {
            return Err(format!(
                "along axis {axis} of shape {dims:?} its parts interleave, which is supported behind the last layer only; \
                 join channels, or the first axis that is larger than 1"
            ));
        }
        let (mut inputs, mut count) = (vec![], 0);
        for i in 0..op.inputs.len() {
            let t = self.input_tensor(op, i)?;
            if self.quant(t)? != to {
                return Err(format!("its input {i} must have its output's scale and zero point"));
            }
            let own = &self.model.tensors[t].dims;
            if own.len() != dims.len() || own[axis + 1..] != dims[axis + 1..] {
                return Err(format!("its input {i} of shape {own:?} does not fit {dims:?}"));
            }
            let id = self.codes(op, i)?;
            let n = self.graph.tensors[id].len();
            count += n;
            let name = format!("{}_input{i}", op.name);
            let flat = self.new_tensor(&name, [1, 1, n], to)?;
            self.node(&name, Op::Reshape(Reshape { input: id, output: flat }));
            inputs.push(flat);
        }
        let joined = self.new_tensor(&format!("{}_flat", op.name), [1, 1, count], to)?;
        let requants = vec![None; inputs.len()];
        self.node(&format!("{}_flat", op.name), Op::Concat(Concat { inputs, output: joined, requants }));
        self.give(op, y, joined)
    }

    /// SPLIT (axis first) and SPLIT_V (axis last); the sizes stand at the outputs.
    pub fn split(&mut self, op: &Operator<'m>) -> Result<()> {
        let (data, axis) = if op.kind == "SPLIT" { (1, 0) } else { (0, 2) };
        let x = self.input_tensor(op, data)?;
        let axis = self.input_tensor(op, axis)?;
        let axis = match self.constant(axis)?[..] {
            [a] => a,
            _ => return Err("its axis must be one number".into()),
        };
        let dims = self.model.tensors[x].dims.clone();
        let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&a| a < dims.len()).ok_or("its axis does not exist")?;
        let mut begin = vec![0; dims.len()];
        for (i, &y) in op.outputs.iter().enumerate() {
            self.same_quant(x, y)?;
            let size = self.model.tensors[y].dims.clone();
            let size_along = *size.get(axis).ok_or("its outputs have fewer dimensions")?;
            let mut expected = dims.clone();
            expected[axis] = size_along;
            self.check_shape(y, &expected)?;
            self.part(&format!("{}_{i}", op.name), op, data, y, &begin, &vec![1; dims.len()])?;
            begin[axis] += size_along;
        }
        match begin[axis] == dims[axis] {
            true => Ok(()),
            false => Err("its outputs do not make up its input".into()),
        }
    }

    pub fn slice(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        if let Value::Shape = self.values[x] {
            return self.shape(op);
        }
        self.same_quant(x, y)?;
        let begin = self.input_tensor(op, 1)?;
        let begin = self.constant(begin)?;
        let begin = begin.iter().map(|&b| usize::try_from(b).ok()).collect::<Option<Vec<_>>>();
        let begin = begin.ok_or("it begins before the first element")?;
        self.part(&op.name, op, 0, y, &begin, &vec![1; begin.len()])
    }

    pub fn strided_slice(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        if let Value::Shape = self.values[x] {
            return self.shape(op);
        }
        self.same_quant(x, y)?;
        let lists = [self.input_tensor(op, 1)?, self.input_tensor(op, 3)?];
        let (begins, strides) = (self.constant(lists[0])?, self.constant(lists[1])?);
        let options = op.options.ok_or("it has no options")?;
        if [2, 3, 4].iter().any(|&f| options.int(f, 0) != Ok(0)) {
            return Err("ellipsis, new-axis and shrink-axis masks are not supported; add a RESHAPE".into());
        }
        let (dims, mask) = (self.model.tensors[x].dims.clone(), options.int(0, 0)?);
        if begins.len() != dims.len() || strides.len() != dims.len() || dims.len() > 8 {
            return Err(format!("its begins and strides do not go with shape {dims:?}"));
        }
        let mut begin = Vec::new();
        for (axis, &b) in begins.iter().enumerate() {
            let from = match (mask >> axis & 1 == 1, b < 0) {
                (true, _) => 0,
                (_, true) => (b + dims[axis] as i64).max(0),
                _ => b.min(dims[axis] as i64),
            };
            begin.push(from as usize);
        }
        let strides = strides.iter().map(|&s| usize::try_from(s).ok().filter(|&s| s > 0));
        let strides = strides.collect::<Option<Vec<_>>>().ok_or("its strides must be positive")?;
        self.part(&op.name, op, 0, y, &begin, &strides)
    }

    /// The elements from `begin` in steps of `strides`, as many as tensor `y` has.
    fn part(
        &mut self,
        name: &str,
        op: &Operator<'m>,
        data: usize,
        y: usize,
        begin: &[usize],
        strides: &[usize],
    ) -> Result<()> {
        let x = self.input_tensor(op, data)?;
        let (dims, size) = (self.model.tensors[x].dims.clone(), self.model.tensors[y].dims.clone());
        let fits = |a: usize| {
            let reach = size[a].checked_sub(1).and_then(|n| n.checked_mul(strides[a]));
            reach.and_then(|r| r.checked_add(begin[a])).is_some_and(|last| last < dims[a])
        };
        if size.len() != dims.len() || begin.len() != dims.len() || !(0..dims.len()).all(fits) {
            return Err(format!("a part of shape {size:?} from {begin:?} is not inside {dims:?}"));
        }
        if let Some(v) = self.on_host(op, data)? {
            self.check_moved(y)?;
            let mut places = vec![0];
            for a in 0..dims.len() {
                let inner: usize = dims[a + 1..].iter().product();
                let steps: Vec<usize> = (0..size[a]).map(|i| (begin[a] + i * strides[a]) * inner).collect();
                places = places.iter().flat_map(|p| steps.iter().map(move |s| p + s)).collect();
            }
            return self.pick_on_host(op, y, v, places);
        }
        let input = self.codes(op, data)?;
        let n = dims.len();
        let outer = n.saturating_sub(3);
        if dims[..outer].iter().any(|&d| d != 1) {
            return Err("parts along more than height, width and channels are not supported".into());
        }
        let at = |list: &[usize], from_end: usize, other: usize| match n.checked_sub(from_end) {
            Some(a) if a >= outer => list[a],
            _ => other,
        };
        if at(strides, 1, 1) != 1 && at(&size, 1, 1) > 1 {
            return Err("channels in steps are not supported".into());
        }
        let first = at(begin, 1, 0);
        let corner = [at(begin, 3, 0), at(begin, 2, 0)];
        let stride = [at(strides, 3, 1), at(strides, 2, 1)];
        let moved = corner != [0, 0] || stride != [1, 1];
        // Picking pixels may leave nothing to do for a copy.
        let [h, w, c] = self.graph.tensors[input].shape;
        let left = [(h - corner[0]).div_ceil(stride[0]), (w - corner[1]).div_ceil(stride[1]), c];
        let whole = left == image(&size) && first == 0;
        let pixels = if whole { name.to_string() } else { format!("{name}_pixels") };
        let source = match moved {
            true => self.picked(&pixels, input, y, corner, stride)?,
            false => input,
        };
        if whole {
            self.values[y] = Value::Codes(source);
            return Ok(());
        }
        let output = self.new_codes(y)?;
        let copy = Copy { input: source, output, first_channel: first, upsample: 1, requant: None };
        self.node(name, Op::Copy(copy));
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    /// Pixels from `corner` on in steps: a convolution whose window's last position has the only 1.
    fn picked(
        &mut self,
        name: &str,
        input: TensorId,
        y: usize,
        corner: [usize; 2],
        stride: [usize; 2],
    ) -> Result<TensorId> {
        let [h, w, c] = self.graph.tensors[input].shape;
        let kernel = corner.map(|at| at + 1);
        let count = kernel[0].checked_mul(kernel[1]).and_then(|k| k.checked_mul(c));
        self.take_constants(count.ok_or("it begins too far inside")?)?;
        let shape = [(h - kernel[0]) / stride[0] + 1, (w - kernel[1]) / stride[1] + 1, c];
        let quant = self.quant(y)?;
        let output = self.new_tensor(name, shape, quant)?;
        let mut one = vec![0; kernel[0] * kernel[1]];
        one[kernel[0] * kernel[1] - 1] = 1;
        let data = std::iter::repeat_n(one, c).flatten().collect();
        let ty = IntType { bits: 1, signed: false };
        let weights = Weights { shape: [c, kernel[0], kernel[1], 1], data, ty, bipolar: false };
        let requant = copying(c, &quant);
        let (dilation, pads) = ([1, 1], [0; 4]);
        let conv = Conv { input, output, weights, stride, dilation, pads, pad_code: 0, groups: c, requant };
        self.node(name, Op::Conv(conv));
        Ok(output)
    }
}

/// The uint8 concatenation's requantization, in float32: `round(code * scale + bias) + zero_point`.
fn by_float(from: &super::lower::Quant, to: &super::lower::Quant) -> impl Fn(i32) -> i32 {
    let scale = from.scale * (1.0 / to.scale);
    let bias = -from.zero_point as f32 * scale;
    let (zero, (lo, hi)) = (to.zero_point, to.range());
    move |code| ((code as f32 * scale + bias).round() as i32).saturating_add(zero).clamp(lo, hi)
}
