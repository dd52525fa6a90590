// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators on several activations: sums, concatenations, and products of values that come from the same codes.

use super::constant::int;
use super::emit::{CodeSpec, MAX_FACTOR};
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::{activation, waiting};
use super::pair_sum::PairSum;
use super::value::{
    image_order, odd_part, simplified, Base, FloatValue, IntegerView, LinearSum, Pending, PendingOp, Value,
};
use crate::host::{CodeMap, CodeTable, FloatChain, FloatStep, FromInt, IntStep};
use crate::ir::{Add, Concat, IntType, Op, Requant, Rounding, TensorId};
use crate::tail::Binary;
use std::rc::Rc;

/// Pairs of codes that are tried to prove a sum.
const MAX_PAIRS: i64 = 1 << 20;

impl Importer<'_> {
    /// The sum of two quantized tensors.
    pub fn add(&mut self, node: &Node, a: FloatValue, b: FloatValue) -> Result<FloatValue, String> {
        self.add_by(node, a, b, None)
    }

    /// `rule`: how the reference computes the codes, where not as a sum of floats.
    pub fn add_by(
        &mut self,
        node: &Node,
        a: FloatValue,
        b: FloatValue,
        rule: Option<LinearSum>,
    ) -> Result<FloatValue, String> {
        if a.dims != b.dims {
            return Err(format!("shapes {:?} and {:?} differ", a.dims, b.dims));
        }
        if a.int.is_some() != b.int.is_some() {
            return Err("a float and an integer are added".into());
        }
        let (a, ta, va) = self.integers(&format!("{}_a", node.name), &a)?;
        let (b, tb, vb) = self.integers(&format!("{}_b", node.name), &b)?;
        if a.order != b.order || self.graph.tensors[ta].shape != self.graph.tensors[tb].shape {
            return Err("its inputs lie differently in memory".into());
        }
        let ([x], [y]) = (&va[..], &vb[..]) else {
            return Err("scales that differ from channel to channel".into());
        };
        let shape = self.graph.tensors[ta].shape;
        let (dims, order) = (a.dims.clone(), a.order.clone());
        let Some((fa, fb, scale)) = common_scale(x.scale, y.scale) else {
            let pairs = [ta, tb].map(|t| self.ranges[t].1 - self.ranges[t].0 + 1);
            if pairs[0].saturating_mul(pairs[1]) > MAX_PAIRS {
                return Err(format!(
                    "scales {} and {} are no small multiples of a common one, and the codes are too wide to try \
                     all pairs; quantize both alike",
                    x.scale, y.scale
                ));
            }
            let op = PendingOp::Sum2 { a, b, rule };
            let base = self.pending(node, op, shape, vec![(0, 0)]);
            return Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int: None });
        };
        let (ia, ib) = (x.integers(self.ranges[ta]), y.integers(self.ranges[tb]));
        let largest = [ia.0, ia.1].map(|v| (v * fa).unsigned_abs()).into_iter().max().unwrap_or(0)
            + [ib.0, ib.1].map(|v| (v * fb).unsigned_abs()).into_iter().max().unwrap_or(0);
        self.note_rounding(node, largest * odd_part(scale as f32));
        let (factor_a, factor_b) = (fa * x.factor, fb * y.factor);
        if factor_a > MAX_FACTOR || factor_b > MAX_FACTOR {
            return Err("the factors of its inputs are too large".into());
        }
        let (ra, rb) = (self.ranges[ta], self.ranges[tb]);
        let bound = (factor_a * ra.0 + factor_b * rb.0, factor_a * ra.1 + factor_b * rb.1);
        let offset = fa * x.offset + fb * y.offset;
        let (factor_a, factor_b) = (factor_a as i32, factor_b as i32);
        let op = PendingOp::Add { a: ta, b: tb, factor_a, factor_b };
        if let Some(ty) = a.int {
            let base = self.pending(node, op, shape, vec![bound]);
            let chain = FloatChain::integers(vec![IntStep::Add(vec![offset])]);
            let v = FloatValue { dims, base, chain, order, int: Some(ty) };
            self.integer_range(&v)?;
            return Ok(v);
        }
        let pending = Pending { name: node.name.clone(), op, shape, bounds: vec![bound], linear: None };
        let from_int = FromInt { factor: 1, offset: vec![offset], scale: vec![scale] };
        Ok(waiting(dims, pending, from_int, order))
    }

    pub fn pending(&self, node: &Node, op: PendingOp, shape: [usize; 3], bounds: Vec<(i64, i64)>) -> Base {
        Base::Pending(Rc::new(Pending { name: node.name.clone(), op, shape, bounds, linear: None }))
    }

    /// Sum, product or other combination of two activations.
    pub fn combination(
        &mut self,
        node: &Node,
        op: Binary,
        a: FloatValue,
        b: FloatValue,
    ) -> Result<FloatValue, String> {
        if let Some(v) = self.function_of_codes(op, &a, &b) {
            return Ok(v);
        }
        match op {
            Binary::Add => self.add(node, a, b),
            Binary::Sub if a.int.is_none() && b.int.is_none() => {
                self.add(node, a, b.then(FloatStep::Mul(vec![-1.0])))
            }
            _ => Err(format!(
                "{} of two activations: the machine multiplies by constant weights and adds; sums are supported, and what \
                 depends on one tensor's codes alone, such as x * sigmoid(x)",
                match op {
                    Binary::Mul => "a product",
                    Binary::Div => "a quotient",
                    Binary::Max | Binary::Min => "an extremum",
                    _ => "a function",
                }
            )),
        }
    }

    /// Two values of the same codes, such as x times sigmoid(x), are one function of them.
    fn function_of_codes(&self, op: Binary, a: &FloatValue, b: &FloatValue) -> Option<FloatValue> {
        let (Base::Codes(t), Base::Codes(u)) = (&a.base, &b.base) else { return None };
        if a.order != b.order || a.dims != b.dims || a.int.is_some() || b.int.is_some() {
            return None;
        }
        let (root, [of_t, of_u]) = self.common_root(*t, *u)?;
        let (lo, hi) = self.ranges[root];
        let width = a.chain.width().max(b.chain.width());
        if (hi - lo + 1).saturating_mul(width as i64) > MAX_PAIRS {
            return None;
        }
        let value = |i: usize, c: usize| op.apply(a.chain.eval_int(of_t[i], c), b.chain.eval_int(of_u[i], c));
        let values = (0..width).map(|c| (0..of_t.len()).map(|i| value(i, c)).collect()).collect();
        let chain = FloatChain { table: Some(CodeTable { first: lo, values }), ..FloatChain::default() };
        Some(FloatValue { base: Base::Codes(root), chain, ..a.clone() })
    }

    /// A tensor of whose codes the codes of both are functions, and these functions over all codes that it can hold.
    fn common_root(&self, t: TensorId, u: TensorId) -> Option<(TensorId, [Vec<i64>; 2])> {
        let (of_t, of_u) = (self.lineage(t), self.lineage(u));
        of_t.into_iter().find_map(|(root, codes)| {
            let other = of_u.iter().find(|(r, _)| *r == root)?;
            Some((root, [codes, other.1.clone()]))
        })
    }

    /// The tensor itself and those that it is a function of, nearest first, each with that function.
    fn lineage(&self, t: TensorId) -> Vec<(TensorId, Vec<i64>)> {
        let (lo, hi) = self.ranges[t];
        let mut found = vec![(t, (lo..=hi).collect::<Vec<i64>>())];
        while let Some((last, codes)) = found.last() {
            let (first, codes) = (self.ranges[*last].0, codes.clone());
            let Some((parent, from, table)) = self.derived.get(last) else { break };
            let (least, most) = self.ranges[*parent];
            let one = |v: i64| codes.get((*table.get((v - from) as usize)? - first) as usize).copied();
            let Some(composed) = (least..=most).map(one).collect::<Option<Vec<_>>>() else { break };
            found.push((*parent, composed));
        }
        found
    }

    /// Codes of a sum of two values that have nothing to do with each other: a line in both codes, proven for all pairs.
    pub fn sum_of_two(
        &mut self,
        name: &str,
        p: &Pending,
        (a, b, rule): (&FloatValue, &FloatValue, Option<LinearSum>),
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let (Base::Codes(ta), Base::Codes(tb)) = (&a.base, &b.base) else {
            return Err("its inputs are not quantized".into());
        };
        if chain.width() != 1 {
            return Err("a sum followed by different constants per channel is not supported".into());
        }
        let sum = PairSum::new((a, self.ranges[*ta]), (b, self.ranges[*tb]), chain, spec, rule)?;
        let (found, differing) = sum.search();
        if let Some(d) = differing.iter().find(|d| d.got.abs_diff(d.expected) > 1) {
            return Err(format!(
                "no line in both codes gives the sum: {} and {} give {} instead of {}; quantize both alike",
                d.a, d.b, d.got, d.expected
            ));
        }
        if let Some(d) = differing.first() {
            self.notes.push(format!(
                "{}: {} of {} pairs of codes differ from the float reference, by its rounding: {} and {} give {} \
                 instead of {}",
                p.name,
                differing.len(),
                sum.codes.len(),
                d.a,
                d.b,
                d.got,
                d.expected
            ));
        }
        let output = self.new_codes(name, p.shape, spec);
        let op = Add {
            a: *ta,
            b: *tb,
            output,
            left_shift: 20,
            params_a: found.a,
            params_b: found.b,
            sum: Requant {
                channels: vec![found.sum],
                rounding: Rounding::HalfEven,
                zero_point: 0,
                clamp: spec.clamp,
                table: None,
                raw: false,
            },
        };
        self.node(&p.name, Op::Add(op));
        Ok(output)
    }

    /// Channels behind each other.
    pub fn concat(&mut self, node: &Node, inputs: &[Option<Value>]) -> Result<FloatValue, String> {
        let mut parts = Vec::new();
        for i in 0..inputs.len() {
            let v = activation(inputs, i).map_err(|_| "constants between activations are not supported")?;
            parts.push(self.no_input(v)?);
        }
        self.join(node, parts)
    }

    pub fn join(&mut self, node: &Node, parts: Vec<FloatValue>) -> Result<FloatValue, String> {
        let mut parts = parts;
        for v in &mut parts {
            if v.image().is_none() && matches!(v.base, Base::Codes(_)) && int(node, "axis", 1)? == 1 {
                *v = self.as_image(&node.name, v.clone())?.0;
            }
        }
        let first = parts.first().ok_or("has no inputs")?.clone();
        let rank = first.dims.len() as i64;
        let axis = int(node, "axis", 1)?;
        if axis != 1 && axis != 1 - rank {
            return self.join_flat(node, parts, super::constant::axis(axis, rank as usize)?);
        }
        let image = first.image().ok_or("its input does not lie as an image in memory")?;
        let mut channels = 0;
        for v in &parts {
            let shape = v.image().ok_or("its input does not lie as an image in memory")?;
            if shape[..2] != image[..2] || v.dims.len() != first.dims.len() {
                return Err(format!("shapes {:?} and {:?} do not fit", first.dims, v.dims));
            }
            if v.int.is_some() != first.int.is_some() {
                return Err("floats and integers are joined".into());
            }
            channels += shape[2];
        }
        let shape = [image[0], image[1], channels];
        check_activation(&shape)?;
        let mut dims = first.dims.clone();
        dims[1] = channels;
        let order = image_order(shape);
        if let Some(ids) = self.alike(&parts) {
            let name = node.outputs.first().cloned().unwrap_or_default();
            let output = self.join_codes(&node.name, &name, ids, shape);
            return Ok(FloatValue {
                dims,
                base: Base::Codes(output),
                chain: first.chain,
                order,
                int: first.int,
            });
        }
        let bounds = match first.int {
            Some(_) => {
                let mut range = (i64::MAX, i64::MIN);
                for v in &parts {
                    let (lo, hi) = self.integer_range(v)?;
                    range = (range.0.min(lo), range.1.max(hi));
                }
                range
            }
            None => (0, 0),
        };
        let base = self.pending(node, PendingOp::Concat { parts, flat: false }, shape, vec![bounds]);
        Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int: first.int })
    }

    /// The tensors, where all parts are codes of one type and meaning.
    fn alike(&self, parts: &[FloatValue]) -> Option<Vec<TensorId>> {
        let mut ids = Vec::new();
        for v in parts {
            let Base::Codes(t) = v.base else { return None };
            ids.push(t);
        }
        let ty = |t: TensorId| self.graph.tensors[t].ty;
        let view = |v: &FloatValue, t: TensorId| match v.chain.width() {
            1 => IntegerView::of(&v.chain, 0, self.ranges[t]),
            _ => None,
        };
        let first = view(&parts[0], ids[0])?;
        let same = |(v, &t): (&FloatValue, &TensorId)| ty(t) == ty(ids[0]) && view(v, t) == Some(first);
        parts.iter().zip(&ids).all(same).then_some(ids)
    }

    /// Joined values that no quantizer makes alike: codes in a scale of which all scales are multiples, the same values exactly.
    pub fn joined_alike(
        &mut self,
        name: &str,
        p: &Pending,
        parts: &[FloatValue],
        v: &FloatValue,
    ) -> Result<FloatValue, String> {
        let refused =
            || "joins values of different scales; a quantizer behind the Concat is missing".to_string();
        let mut read: Vec<(TensorId, IntegerView, i64)> = Vec::new();
        let mut scale = None;
        for (i, part) in parts.iter().enumerate() {
            let (_, t, views) = self.integers(&format!("{name}_{i}"), part)?;
            let [view] = views[..] else { return Err(refused()) };
            let (fa, fb, common) = match scale {
                None => (1, 1, view.scale as f64),
                Some(s) => common_scale(s as f32, view.scale).ok_or_else(refused)?,
            };
            read.iter_mut().for_each(|r| r.2 = r.2.saturating_mul(fa));
            read.push((t, view, fb));
            scale = Some(common);
        }
        let scale = scale.ok_or_else(refused)?;
        let integer =
            |(_, view, by): &(TensorId, IntegerView, i64), code: i64| by * (view.factor * code + view.offset);
        let (mut least, mut most) = (0, 0);
        for r in &read {
            let (lo, hi) = self.ranges[r.0];
            let real = |code: i64| ((integer(r, code) / r.2) as f64 * r.1.scale as f64) as f32;
            if r.2 > MAX_FACTOR || (lo..=hi).any(|c| (integer(r, c) as f64 * scale) as f32 != real(c)) {
                return Err(refused());
            }
            (least, most) = (integer(r, lo).min(least), integer(r, hi).max(most));
        }
        let ty = IntType::holding(least, most);
        if ty.bits > 16 {
            return Err(refused());
        }
        let spec = CodeSpec { ty, clamp: (least as i32, most as i32), map: CodeMap::SAME };
        let mut ids = Vec::new();
        for (i, r) in read.iter().enumerate() {
            let (lo, hi) = self.ranges[r.0];
            let values = vec![(lo..=hi).map(|c| integer(r, c) as f32).collect()];
            let table = Some(CodeTable { first: lo, values });
            let chain = FloatChain { table, ..FloatChain::default() };
            ids.push(self.recode(&format!("{name}_{i}_scaled"), r.0, &chain, spec)?);
        }
        let output = self.join_codes(&p.name, &format!("{name}_joined"), ids, p.shape);
        let chain = FloatChain::from_int(FromInt::scaled(scale)).then(&v.chain);
        Ok(FloatValue { chain, ..FloatValue::codes(v.dims.clone(), output, v.order.clone()) })
    }

    /// The channels of tensors of codes, which mean the same, behind each other.
    pub fn join_codes(&mut self, node: &str, name: &str, ids: Vec<TensorId>, shape: [usize; 3]) -> TensorId {
        let ranges = ids.iter().map(|&t| self.ranges[t]);
        let range = ranges.fold((i64::MAX, i64::MIN), |r, t| (r.0.min(t.0), r.1.max(t.1)));
        let ty = self.graph.tensors[ids[0]].ty;
        let output = self.tensor(name, shape, ty, range);
        let requants = vec![None; ids.len()];
        self.node(node, Op::Concat(Concat { inputs: ids, output, requants }));
        output
    }

    /// Each part with its own requantization, then all behind each other.
    pub fn joined(
        &mut self,
        name: &str,
        p: &Pending,
        (parts, flat): (&[FloatValue], bool),
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let (mut ids, mut first) = (Vec::new(), 0);
        if flat && chain.width() != 1 {
            return Err(
                "joined along another axis, then different constants per channel: not supported".into()
            );
        }
        for (i, part) in parts.iter().enumerate() {
            let own = match flat {
                true => chain.clone(),
                false => {
                    let channels = part.image().ok_or("its input does not lie as an image in memory")?[2];
                    first += channels;
                    chain.selected(&(first - channels..first).collect::<Vec<_>>())
                }
            };
            let mut v = part.clone();
            v.chain = part.chain.then(&own);
            let codes = self.codes(&format!("{name}_{i}"), &v, spec)?;
            let Base::Codes(t) = codes.base else { return Err("its input is not quantized".into()) };
            ids.push(t);
        }
        Ok(match flat {
            true => self.join_flat_codes(&p.name, name, ids),
            false => self.join_codes(&p.name, name, ids, p.shape),
        })
    }

    /// Values joined along an axis that is not the channels': all elements of the parts behind each other, in a new order.
    fn join_flat(&mut self, node: &Node, parts: Vec<FloatValue>, axis: usize) -> Result<FloatValue, String> {
        let first = parts[0].clone();
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        let (mut offset, mut offsets) = (0, Vec::new());
        for v in &parts {
            let fits = v.dims.len() == dims.len()
                && (0..dims.len()).all(|a| a == axis || v.dims[a] == first.dims[a])
                && v.int.is_some() == first.int.is_some();
            if !fits {
                return Err(format!("shapes {:?} and {:?} do not fit", first.dims, v.dims));
            }
            if matches!(v.base, Base::Input(_)) || v.chain.width() != 1 {
                return Err(format!(
                    "axis {axis}; values that are quantized alike, or channels (axis 1), can be joined"
                ));
            }
            dims[axis] += v.dims[axis];
            offsets.push(offset);
            offset += match &v.base {
                Base::Codes(t) => self.graph.tensors[*t].shape.iter().product::<usize>(),
                Base::Pending(p) => p.shape.iter().product(),
                Base::Input(_) => 0,
            };
        }
        check_activation(&dims)?;
        check_activation(&[offset])?;
        let outer: usize = dims[..axis].iter().product();
        let mut order = Vec::with_capacity(dims.iter().product());
        for o in 0..outer {
            for (v, offset) in parts.iter().zip(&offsets) {
                let piece = v.count() / outer;
                order.extend((o * piece..(o + 1) * piece).map(|e| offset + v.place(e)));
            }
        }
        let (order, int) = (simplified(order), first.int);
        if let Some(ids) = self.alike(&parts) {
            let name = node.outputs.first().cloned().unwrap_or_default();
            let output = self.join_flat_codes(&node.name, &name, ids);
            return Ok(FloatValue { dims, base: Base::Codes(output), chain: first.chain, order, int });
        }
        if int.is_some() {
            return Err(format!("axis {axis}; integers of one meaning, or channels (axis 1), can be joined"));
        }
        let op = PendingOp::Concat { parts, flat: true };
        let base = self.pending(node, op, [1, 1, offset], vec![(0, 0)]);
        Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int })
    }

    fn join_flat_codes(&mut self, node: &str, name: &str, ids: Vec<TensorId>) -> TensorId {
        let mut flat = Vec::new();
        for (i, t) in ids.into_iter().enumerate() {
            let n = self.graph.tensors[t].len();
            flat.push(match self.graph.tensors[t].shape == [1, 1, n] {
                true => t,
                false => self.reshaped(&format!("{node}_{i}"), t, [1, 1, n]),
            });
        }
        let n = flat.iter().map(|&t| self.graph.tensors[t].len()).sum();
        self.join_codes(node, name, flat, [1, 1, n])
    }
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
