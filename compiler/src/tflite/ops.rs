// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which operators there are, and the options that they share.

use super::code::CodeOp;
use super::fixed::Softmax;
use super::flatbuffer::Table;
use super::lower::{Importer, Quant, Result, Value};
use super::model::{ElementType, Operator};
use super::softmax16::Softmax16;
use crate::ir::{Add, ChannelParams, Op, Requant, Rounding, TensorId};
use crate::tail::HostOp;

/// Operators that become nodes, or work of the host.
const OPERATORS: [&str; 43] = [
    "ABS",
    "ADD",
    "AVERAGE_POOL_2D",
    "BATCH_TO_SPACE_ND",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEQUANTIZE",
    "ELU",
    "EXPAND_DIMS",
    "FULLY_CONNECTED",
    "HARD_SWISH",
    "LEAKY_RELU",
    "LOGISTIC",
    "MAX_POOL_2D",
    "MAXIMUM",
    "MEAN",
    "MINIMUM",
    "MUL",
    "PACK",
    "PAD",
    "PADV2",
    "QUANTIZE",
    "REDUCE_MAX",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SHAPE",
    "SLICE",
    "SOFTMAX",
    "SPACE_TO_BATCH_ND",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "SUB",
    "TANH",
    "TRANSPOSE",
    "TRANSPOSE_CONV",
    "UNPACK",
];

pub fn known(kind: &str) -> bool {
    OPERATORS.contains(&kind)
}

/// Why an operator is refused.
pub fn unknown(kind: &str) -> String {
    let way = match kind {
        k if k.starts_with("custom") => "only TFLite's own operators are; build the network from them",
        "RESIZE_BILINEAR" => "use nearest-neighbour upsampling by a whole factor",
        "BATCH_MATMUL" => "a product with constant weights can be a fully connected layer",
        "DIV" => "multiply by the reciprocal",
        "LSTM" | "UNIDIRECTIONAL_SEQUENCE_LSTM" | "SVDF" | "RNN" | "WHILE" | "IF" => {
            "state and control flow stay with the host: export the part between them"
        }
        _ => "export the network without it, or leave it to the host",
    };
    format!("this operator is not supported; {way}")
}

/// An activation fused into an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    None,
    Relu,
    ReluN1To1,
    Relu6,
}

impl Activation {
    /// From a field of an operator's options; operators without options have none.
    pub fn read(options: Option<Table>, field: usize) -> Result<Activation> {
        let Some(options) = options else { return Ok(Activation::None) };
        Ok(match options.byte(field)? {
            0 => Activation::None,
            1 => Activation::Relu,
            2 => Activation::ReluN1To1,
            3 => Activation::Relu6,
            n => {
                let name = ["tanh", "sign_bit"].get(n as usize - 4).copied().unwrap_or("unknown");
                return Err(format!(
                    "fused activation {name} is not supported; use a separate operator after this one"
                ));
            }
        })
    }

    /// Smallest and largest code: the bounds in reals, over the scale in float32, rounded half away from zero.
    pub fn clamp(self, quant: &Quant) -> Result<(i32, i32)> {
        let code = |real: f32| {
            let code = (real / quant.scale).round();
            // The kernels refuse what overflows 32 bits.
            (code.abs() < 2147483648.0)
                .then(|| {
                    (quant.zero_point as i64 + code as i64).clamp(i32::MIN as i64, i32::MAX as i64) as i32
                })
                .ok_or_else(|| format!("the activation's bound {real} overflows at scale {}", quant.scale))
        };
        let (lo, hi) = quant.range();
        let (least, most) = match self {
            Activation::None => (lo, hi),
            Activation::Relu => (lo.max(code(0.0)?), hi),
            Activation::ReluN1To1 => (lo.max(code(-1.0)?), hi.min(code(1.0)?)),
            Activation::Relu6 => (lo.max(code(0.0)?), hi.min(code(6.0)?)),
        };
        match least <= most {
            true => Ok((least, most)),
            false => Err(format!("the activation leaves no code: {least}..={most}")),
        }
    }
}

/// The same parameters for all channels or one entry per channel.
pub fn requant(
    channels: Vec<ChannelParams>,
    rounding: Rounding,
    quant: &Quant,
    clamp: (i32, i32),
) -> Requant {
    Requant { channels, rounding, zero_point: quant.zero_point, clamp, table: None, raw: false }
}

impl<'m> Importer<'m> {
    pub fn dispatch(&mut self, op: &Operator<'m>) -> Result<()> {
        if self.in_batches(op)? {
            return Ok(());
        }
        match op.kind.as_str() {
            "SPACE_TO_BATCH_ND" => self.space_to_batch(op),
            "BATCH_TO_SPACE_ND" => self.batch_to_space(op),
            "CONV_2D" => self.conv_2d(op),
            "DEPTHWISE_CONV_2D" => self.depthwise_conv_2d(op),
            "FULLY_CONNECTED" => self.fully_connected(op),
            "TRANSPOSE_CONV" => self.transpose_conv(op),
            "MAX_POOL_2D" => self.max_pool_2d(op),
            "AVERAGE_POOL_2D" => self.average_pool_2d(op),
            "MEAN" => self.mean(op),
            "REDUCE_MAX" => self.reduce_max(op),
            "ADD" => self.add(op, false),
            "SUB" => self.add(op, true),
            "MUL" => self.mul(op),
            "MAXIMUM" => self.extremum(op, i32::max),
            "MINIMUM" => self.extremum(op, i32::min),
            "CONCATENATION" => self.concatenation(op),
            "PAD" | "PADV2" => self.pad(op),
            "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => self.reshape(op),
            "SHAPE" | "PACK" | "UNPACK" => self.shape(op),
            "TRANSPOSE" => self.transpose(op),
            "RESIZE_NEAREST_NEIGHBOR" => self.resize_nearest(op),
            "SPLIT" | "SPLIT_V" => self.split(op),
            "SLICE" => self.slice(op),
            "STRIDED_SLICE" => self.strided_slice(op),
            "SOFTMAX" => self.softmax(op),
            "QUANTIZE" => self.quantize(op),
            "DEQUANTIZE" => self.dequantize(op),
            _ => self.elementwise(op),
        }
    }

    /// Computed shapes are not followed: the file has the shapes of all tensors.
    pub fn shape(&mut self, op: &Operator) -> Result<()> {
        for &t in &op.outputs {
            if !matches!(self.model.tensors[t].ty, ElementType::Int32 | ElementType::Int64) {
                return Err("is only supported on shapes; use RESHAPE or CONCATENATION on activations".into());
            }
            self.values[t] = Value::Shape;
        }
        Ok(())
    }

    fn softmax(&mut self, op: &Operator) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let (from, to) = (self.quant(x)?, self.quant(y)?);
        if from.ty != to.ty {
            return Err("its input and output must have one type".into());
        }
        let wide = from.ty.bits == 16;
        match (wide, to.scale, to.zero_point) {
            (true, s, 0) if s == 1.0 / 32768.0 => {}
            (true, ..) => return Err("its 16-bit output must have scale 1/32768 and zero point 0".into()),
            (false, s, z) if s == 1.0 / 256.0 && z == to.range().0 => {}
            _ => return Err("its output must have scale 1/256 and the smallest code as zero point".into()),
        }
        if self.model.tensors[x].dims != self.model.tensors[y].dims {
            return Err("its output must have its input's shape".into());
        }
        let beta = op.options.ok_or("it has no options")?.float(0)?;
        let softmax = match wide {
            true => CodeOp::Softmax16(Softmax16::new(from.scale, beta)?),
            false => CodeOp::Softmax(Softmax::new(from.scale, beta, to.zero_point)?),
        };
        let value = self.host_value(x)?;
        self.host_node(op, y, HostOp::Codes(softmax), vec![value]);
        Ok(())
    }

    /// Two graph tensors of one shape added.
    pub fn add_tensors(
        &mut self,
        op: &Operator,
        [a, b]: [TensorId; 2],
        y: usize,
        left_shift: u8,
        [params_a, params_b]: [ChannelParams; 2],
        sum: Requant,
    ) -> Result<()> {
        let output = self.new_codes(y)?;
        let [sa, sb, sy] = [a, b, output].map(|t| self.graph.tensors[t].shape);
        if sa != sb || sa != sy {
            return Err(format!(
                "adds shapes {sa:?} and {sb:?} to {sy:?}; broadcasting is supported for constants only"
            ));
        }
        self.node(&op.name, Op::Add(Add { a, b, output, left_shift, params_a, params_b, sum }));
        self.values[y] = Value::Codes(output);
        Ok(())
    }
}
