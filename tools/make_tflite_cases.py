#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Small TFLite networks of seeded random shapes, scales and constants, with the reference kernels' results.

    python3 -m venv venv && venv/bin/pip install 'numpy<2' tflite-runtime==2.14.0 tensorflow-cpu==2.14.0
    venv/bin/python tools/make_tflite_cases.py compiler/tests/tflite           # the ones that are kept
    venv/bin/python tools/make_tflite_cases.py build/cases --random 400 --seed 7  # many, one operator or a few each

Files are written operator by operator (tensorflow is needed for its flatbuffer classes only), so that every type, zero
point and option can be had. `cargo test -p brickwork-compiler --test tflite_cases` compares them with the importer.
"""
import argparse
import os

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from make_tflite_vectors import vectors

TYPES = {
    np.int8: schema.TensorType.INT8,
    np.uint8: schema.TensorType.UINT8,
    np.int16: schema.TensorType.INT16,
    np.int32: schema.TensorType.INT32,
    np.int64: schema.TensorType.INT64,
    np.float32: schema.TensorType.FLOAT32,
}
NONE, RELU, RELU_N1, RELU6 = 0, 1, 2, 3
SAME, VALID = 0, 1


class Net:
    def __init__(self, rng, dtype=np.int8):
        self.rng, self.dtype = rng, dtype
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.buffers, self.codes = [schema.BufferT()], []

    # Tensors.
    def tensor(self, shape, dtype=None, scale=None, zero=0, data=None, axis=0):
        t = schema.TensorT()
        dtype = dtype or self.dtype
        t.shape, t.type, t.name = list(shape), TYPES[dtype], f"t{len(self.graph.tensors)}".encode()
        t.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, dtype).tobytes(), np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.float32(scale))
            q.zeroPoint = np.broadcast_to(np.int64(zero), q.scale.shape).copy()
            q.quantizedDimension = axis
            t.quantization = q
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def shape(self, t):
        return self.graph.tensors[t].shape

    def scale(self, t):
        return float(self.graph.tensors[t].quantization.scale[0])

    def zero(self, t):
        return int(self.graph.tensors[t].quantization.zeroPoint[0])

    def info(self):
        return np.iinfo(self.dtype)

    def random_zero(self):
        if self.dtype == np.int16:
            return 0
        info = self.info()
        return int(self.rng.choice([info.min, info.max, int(self.rng.integers(info.min, info.max + 1))], p=[0.3, 0.1, 0.6]))

    def random_scale(self):
        base = 0.0004 if self.dtype == np.int16 else 0.05
        return float(np.float32(base * np.exp(self.rng.uniform(-1, 1))))

    def input(self, shape):
        t = self.tensor(shape, scale=self.random_scale(), zero=self.random_zero())
        self.graph.inputs.append(t)
        return t

    def float_input(self, shape):
        x = self.tensor(shape, np.float32)
        self.graph.inputs.append(x)
        y = self.tensor(shape, scale=self.random_scale(), zero=self.random_zero())
        return self.op("QUANTIZE", [x], [y], schema.QuantizeOptionsT())

    def float_output(self, x):
        return self.op("DEQUANTIZE", [x], [self.tensor(self.shape(x), np.float32)], schema.DequantizeOptionsT())

    def like(self, x, shape):
        return self.tensor(shape, scale=self.scale(x), zero=self.zero(x))

    def ints(self, values):
        values = np.int32(values)
        return self.tensor(values.shape, np.int32, data=values)

    # Operators.
    def op(self, code, inputs, outputs, options=None):
        number = getattr(schema.BuiltinOperator, code)
        if number not in self.codes:
            self.codes.append(number)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = self.codes.index(number), inputs, outputs
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self.graph.operators.append(op)
        return outputs[0]

    def window(self, options, padding, stride, dilation=None):
        options.padding, (options.strideH, options.strideW) = padding, stride
        if dilation is not None:
            options.dilationHFactor, options.dilationWFactor = dilation
        return options

    @staticmethod
    def out_size(size, k, s, d, padding):
        return -(-size // s) if padding == SAME else (size - (k - 1) * d - 1) // s + 1

    def weights(self, shape, channels, axis, fan_in, x, act, bias=True, per_channel=True):
        """Weights, bias and a fitting output scale."""
        rng = self.rng
        wide = self.dtype == np.int16
        unsigned = self.dtype == np.uint8
        size = 1 / (73 * np.sqrt(fan_in))
        if unsigned:
            zero, scale = int(rng.integers(100, 156)), np.float32(np.exp(rng.uniform(-0.7, 0.7)) * size)
            data = rng.integers(0, 256, shape)
            w = self.tensor(shape, np.uint8, scale, zero, data)
        else:
            scale = np.float32(np.exp(rng.uniform(-0.7, 0.7, channels if per_channel else 1)) * size)
            data = rng.integers(-127, 128, shape)
            w = self.tensor(shape, np.int8, scale, 0, data, axis)
        spread = np.sqrt(fan_in) * 73 * (9000 if wide else 70)
        inputs = [x, w]
        if bias:
            values = np.int64(rng.normal(0, spread, channels))
            kind = np.int64 if wide else np.int32
            inputs.append(self.tensor([channels], kind, np.float32(self.scale(x) * scale), 0, values))
        goal = spread * self.scale(x) * float(np.mean(scale)) / (9000 if wide else rng.uniform(20, 70))
        zero = self.info().min if act in (RELU, RELU6) and not wide else self.random_zero()
        return inputs, np.float32(goal), zero

    def conv(self, x, oc, k, s=(1, 1), d=(1, 1), padding=SAME, act=NONE, bias=True, per_channel=True):
        _, h, w, ic = self.shape(x)
        inputs, scale, zero = self.weights([oc, *k, ic], oc, 0, k[0] * k[1] * ic, x, act, bias, per_channel)
        size = [self.out_size(n, *r, padding) for n, *r in zip((h, w), k, s, d)]
        y = self.tensor([1, *size, oc], scale=scale, zero=zero)
        options = self.window(schema.Conv2DOptionsT(), padding, s, d)
        options.fusedActivationFunction = act
        return self.op("CONV_2D", inputs, [y], options)

    def depthwise(self, x, mult, k, s=(1, 1), d=(1, 1), padding=SAME, act=NONE, bias=True, per_channel=True):
        _, h, w, ic = self.shape(x)
        oc = ic * mult
        inputs, scale, zero = self.weights([1, *k, oc], oc, 3, k[0] * k[1], x, act, bias, per_channel)
        size = [self.out_size(n, *r, padding) for n, *r in zip((h, w), k, s, d)]
        y = self.tensor([1, *size, oc], scale=scale, zero=zero)
        options = self.window(schema.DepthwiseConv2DOptionsT(), padding, s, d)
        options.fusedActivationFunction, options.depthMultiplier = act, mult
        return self.op("DEPTHWISE_CONV_2D", inputs, [y], options)

    def transpose_conv(self, x, oc, k, s, padding=SAME, bias=True, per_channel=True):
        _, h, w, ic = self.shape(x)
        inputs, scale, zero = self.weights([oc, *k, ic], oc, 0, max(1, k[0] * k[1] // (s[0] * s[1])) * ic, x, NONE, bias, per_channel)
        size = [n * step + (max(size - step, 0) if padding == VALID else 0) for n, step, size in zip((h, w), s, k)]
        y = self.tensor([1, *size, oc], scale=scale, zero=zero)
        options = self.window(schema.TransposeConvOptionsT(), padding, s)
        return self.op("TRANSPOSE_CONV", [self.ints([1, *size, oc]), inputs[1], x] + inputs[2:], [y], options)

    def in_batches(self, x, d, k, make):
        """A dilated convolution as converters write it; `make` gives the convolution of the batches. Files say 1 for their number."""
        _, h, w, c = self.shape(x)
        extent = [(n - 1) * by for n, by in zip(k, d)]
        more = [-(n + e) % by for n, e, by in zip((h, w), extent, d)]
        pads = [[e // 2, e - e // 2 + m] for e, m in zip(extent, more)]
        size = [(n + sum(p)) // by for n, p, by in zip((h, w), pads, d)]
        y = self.op("SPACE_TO_BATCH_ND", [x, self.ints(d), self.ints(pads)], [self.like(x, [1, *size, c])], schema.SpaceToBatchNDOptionsT())
        y = make(y)
        crops = self.ints([[0, m] for m in more])
        z = self.like(y, [1, h, w, self.shape(y)[3]])
        return self.op("BATCH_TO_SPACE_ND", [y, self.ints(d), crops], [z], schema.BatchToSpaceNDOptionsT())

    def reduce_max(self, x, axes, keep):
        shape = [1 if i in axes else n for i, n in enumerate(self.shape(x)) if keep or i not in axes]
        options = schema.ReducerOptionsT()
        options.keepDims = keep
        return self.op("REDUCE_MAX", [x, self.ints(axes)], [self.like(x, shape)], options)

    def dense(self, x, oc, act=NONE, bias=True, keep=False):
        shape = self.shape(x)
        ic = shape[-1] if keep else int(np.prod(shape[1:]))
        inputs, scale, zero = self.weights([oc, ic], oc, 0, ic, x, act, bias, per_channel=False)
        y = self.tensor([*shape[:-1], oc] if keep else [1, oc], scale=scale, zero=zero)
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction, options.keepNumDims = act, keep
        return self.op("FULLY_CONNECTED", inputs, [y], options)

    def pool(self, kind, x, k, s, padding=VALID, act=NONE):
        _, h, w, c = self.shape(x)
        size = [self.out_size(n, *r, 1, padding) for n, *r in zip((h, w), k, s)]
        options = self.window(schema.Pool2DOptionsT(), padding, s)
        options.filterHeight, options.filterWidth = k
        options.fusedActivationFunction = act
        return self.op(kind, [x], [self.like(x, [1, *size, c])], options)

    def arithmetic(self, kind, a, b, act=NONE, factor=None):
        """ADD, SUB or MUL of tensors of a's shape (or with a constant)."""
        sa, sb = self.scale(a), self.scale(b)
        factor = factor or self.rng.uniform(0.6, 1.8)
        scale = sa * sb * 60 * factor if kind == "MUL" else max(sa, sb) * factor
        y = self.tensor(max(self.shape(a), self.shape(b), key=lambda s: (len(s), np.prod(s))), scale=scale, zero=self.random_zero())
        options = getattr(schema, kind.capitalize() + "OptionsT")()
        options.fusedActivationFunction = act
        return self.op(kind, [a, b], [y], options)

    def constant(self, shape):
        info = self.info()
        data = self.rng.integers(info.min, info.max + 1, shape)
        return self.tensor(shape, scale=self.random_scale(), zero=self.random_zero(), data=data)

    def unary(self, kind, x, scale=None, zero=None, options=None):
        scale = scale or self.scale(x) * self.rng.uniform(0.5, 1.5)
        y = self.tensor(self.shape(x), scale=scale, zero=self.random_zero() if zero is None else zero)
        return self.op(kind, [x], [y], options)

    def mean(self, x, axes, keep):
        shape = [1 if i in axes else n for i, n in enumerate(self.shape(x))]
        if not keep:
            shape = [n for i, n in enumerate(self.shape(x)) if i not in axes]
        y = self.tensor(shape, scale=self.scale(x) * self.rng.uniform(0.3, 1.2), zero=self.random_zero())
        options = schema.ReducerOptionsT()
        options.keepDims = keep
        return self.op("MEAN", [x, self.ints(axes)], [y], options)

    def pad(self, x, pads, value=None):
        shape = [n + sum(p) for n, p in zip(self.shape(x), pads)]
        inputs = [x, self.ints(pads)]
        if value is not None:
            inputs.append(self.tensor([1], scale=self.scale(x), zero=self.zero(x), data=[value]))
        kind = "PAD" if value is None else "PADV2"
        return self.op(kind, inputs, [self.like(x, shape)], getattr(schema, "PadOptionsT" if value is None else "PadV2OptionsT")())

    def reshape(self, x, shape):
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        return self.op("RESHAPE", [x, self.ints(shape)], [self.like(x, shape)], options)

    def concat(self, parts, axis=3):
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(p)[axis] for p in parts)
        same = len({(self.scale(p), self.zero(p)) for p in parts}) == 1
        y = self.like(parts[0], shape) if same else self.tensor(shape, scale=self.random_scale(), zero=self.random_zero())
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        return self.op("CONCATENATION", parts, [y], options)

    def split(self, x, count, axis=3):
        shape = list(self.shape(x))
        shape[axis] //= count
        outputs = [self.like(x, shape) for _ in range(count)]
        options = schema.SplitOptionsT()
        options.numSplits = count
        self.op("SPLIT", [self.ints(axis), x], outputs, options)
        return outputs

    def slice(self, x, begin, size):
        return self.op("SLICE", [x, self.ints(begin), self.ints(size)], [self.like(x, size)], schema.SliceOptionsT())

    def strided_slice(self, x, begin, end, strides):
        size = [-(-(e - b) // s) for b, e, s in zip(begin, end, strides)]
        inputs = [x, self.ints(begin), self.ints(end), self.ints(strides)]
        return self.op("STRIDED_SLICE", inputs, [self.like(x, size)], schema.StridedSliceOptionsT())

    def upsample(self, x, by, half_pixel):
        _, h, w, c = self.shape(x)
        options = schema.ResizeNearestNeighborOptionsT()
        options.halfPixelCenters = half_pixel
        inputs = [x, self.ints([h * by, w * by])]
        return self.op("RESIZE_NEAREST_NEIGHBOR", inputs, [self.like(x, [1, h * by, w * by, c])], options)

    def softmax(self, x):
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        if self.dtype == np.int16:
            return self.unary("SOFTMAX", x, 1 / 32768, 0, options)
        return self.unary("SOFTMAX", x, 1 / 256, self.info().min, options)

    def requantize(self, x, dtype=None):
        keep, self.dtype = self.dtype, dtype or self.dtype
        y = self.tensor(self.shape(x), scale=self.scale(x) * float(np.exp(self.rng.uniform(-1, 1))), zero=self.random_zero())
        if dtype is None:
            self.dtype = keep
        return self.op("QUANTIZE", [x], [y], schema.QuantizeOptionsT())

    def write(self, outputs):
        self.graph.outputs = list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [self.graph], self.buffers
        model.operatorCodes = []
        for number in self.codes:
            code = schema.OperatorCodeT()
            code.deprecatedBuiltinCode, code.builtinCode, code.version = min(number, 127), number, 1
            if number == schema.BuiltinOperator.FULLY_CONNECTED:
                code.version = 4
            if number == schema.BuiltinOperator.TRANSPOSE_CONV:
                code.version = 3
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def image(net, least=3):
    rng = net.rng
    return net.input([1, int(rng.integers(least, 9)), int(rng.integers(least, 9)), int(rng.integers(1, 7))])


def pick(rng, *values):
    return values[int(rng.integers(len(values)))]


def random_window(rng):
    k = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    s = pick(rng, (1, 1), (2, 2), (1, 2), (2, 1))
    d = pick(rng, (1, 1), (2, 2), (1, 2)) if s == (1, 1) else (1, 1)
    return {"k": k, "s": s, "d": d}


def any_conv(net, x, **other):
    rng = net.rng
    window = random_window(rng)
    h, w = net.shape(x)[1:3]
    fits = (window["k"][0] - 1) * window["d"][0] < h and (window["k"][1] - 1) * window["d"][1] < w
    padding = pick(rng, SAME, VALID) if fits else SAME
    act = pick(rng, NONE, RELU, RELU6) if net.dtype == np.int16 else pick(rng, NONE, RELU, RELU6, RELU_N1)
    common = dict(padding=padding, act=act, per_channel=bool(rng.random() < 0.7), **window)
    common.update(other)
    if rng.random() < 0.4:
        return net.depthwise(x, int(rng.integers(1, 4)), **common)
    return net.conv(x, int(rng.integers(1, 9)), **common)


def single(net, kind):
    """A network around one operator."""
    rng = net.rng
    if kind == "dense":
        x = image(net, 1)
        return [net.dense(net.reshape(x, [1, int(np.prod(net.shape(x)))]), int(rng.integers(1, 20)), pick(rng, NONE, RELU, RELU6))]
    if kind == "dense_rows":
        return [net.dense(image(net, 1), int(rng.integers(1, 9)), NONE, keep=True)]
    if kind == "conv":
        return [any_conv(net, image(net))]
    if kind == "batches":
        k, d = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        if rng.random() < 0.5:
            return [net.in_batches(image(net), d, k, lambda x: net.depthwise(x, 1, k, padding=VALID))]
        return [net.in_batches(image(net), d, k, lambda x: net.conv(x, int(rng.integers(1, 9)), k, padding=VALID, act=RELU))]
    if kind == "reduce_max":
        return [net.reduce_max(image(net), pick(rng, [1, 2], [1], [2]), bool(rng.random() < 0.5))]
    if kind == "transpose_conv":
        size = lambda: int(rng.integers(1, 6))
        strides = pick(rng, (2, 2), (2, 2), (1, 1), (1, 2), (3, 2))
        return [net.transpose_conv(image(net, 1), int(rng.integers(1, 20)), (size(), size()), strides, pick(rng, SAME, VALID), bool(rng.random() < 0.8))]
    if kind in ("add", "sub"):
        x = image(net)
        a, b = any_conv(net, x, s=(1, 1), d=(1, 1), padding=SAME), None
        while b is None or net.shape(a) != net.shape(b):
            b = net.conv(x, net.shape(a)[3], (1, 1))
        return [net.arithmetic(kind.upper(), a, b, pick(rng, NONE, RELU, RELU6))]
    if kind in ("add_constant", "sub_constant", "mul_constant"):
        x = image(net)
        c = net.constant(pick(rng, [1], [1, 1, 1, 1]))
        pair = (x, c) if rng.random() < 0.6 else (c, x)
        return [net.arithmetic(kind[:3].upper(), *pair, pick(rng, NONE, RELU))]
    if kind in ("mul_channels", "add_channels", "sub_channels"):
        x = image(net)
        c = net.constant([net.shape(x)[3]])
        return [net.arithmetic(kind[:3].upper(), *((x, c) if rng.random() < 0.7 else (c, x)))]
    if kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        x = image(net)
        k = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        padding = SAME if kind == "MAX_POOL_2D" and rng.random() < 0.5 else VALID
        return [net.pool(kind, x, k, (int(rng.integers(1, 4)), int(rng.integers(1, 4))), padding, pick(rng, NONE, NONE, RELU, RELU6))]
    if kind == "mean":
        x = image(net, 1)
        return [net.mean(x, pick(rng, [1, 2], [2, 1], [1], [2]), bool(rng.random() < 0.5))]
    if kind in ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "HARD_SWISH", "TANH", "ABS"):
        x = image(net)
        scale, zero = None, None
        if kind == "TANH":
            scale, zero = 1 / 128, 0 if net.dtype == np.int8 else 128
        if kind == "HARD_SWISH":
            net.graph.tensors[x].quantization.scale[0] *= pick(rng, 0.3, 1, 3)
        options = schema.HardSwishOptionsT() if kind == "HARD_SWISH" else None
        if kind == "ABS":
            options = schema.AbsOptionsT()
        return [net.unary(kind, x, scale, zero, options)]
    if kind == "LOGISTIC":
        return [net.unary(kind, image(net), 1 / 256, net.info().min)]
    if kind == "LEAKY_RELU":
        options = schema.LeakyReluOptionsT()
        options.alpha = float(rng.uniform(0.01, 0.9))
        return [net.unary(kind, image(net), None, None, options)]
    if kind == "pad_conv":
        x = image(net)
        p = lambda: [int(rng.integers(0, 3)), int(rng.integers(0, 3))]
        y = net.pad(x, [[0, 0], p(), p(), [0, 0]])
        return [net.conv(y, 3, (3, 3), padding=pick(rng, SAME, VALID))] + ([y] if rng.random() < 0.3 else [])
    if kind == "pad_value":
        x = image(net)
        value = int(rng.integers(net.info().min, net.info().max + 1))
        y = net.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], value)
        return [net.pool("MAX_POOL_2D", y, (2, 2), (2, 2))]
    if kind == "pad_channels":
        return [net.pad(image(net), [[0, 0], [0, 0], [0, 0], [2, 3]])]
    if kind == "concat":
        x = image(net)
        a = net.conv(x, 3, (1, 1))
        parts = [a, x] if net.dtype == np.uint8 else [a, net.pool("MAX_POOL_2D", a, (3, 3), (1, 1), SAME)]
        return [net.concat(parts)]
    if kind == "split":
        x = image(net)
        a = net.conv(x, 6, (1, 1))
        return net.split(a, pick(rng, 2, 3))
    if kind == "slice":
        x = image(net, 4)
        _, h, w, c = net.shape(x)
        b = [0, int(rng.integers(0, 3)), int(rng.integers(0, 3)), int(rng.integers(0, c))]
        return [net.slice(x, b, [1, h - b[1], w - b[2] - 1, c - b[3]])]
    if kind == "strided_slice":
        x = image(net, 4)
        _, h, w, c = net.shape(x)
        return [net.strided_slice(x, [0, int(rng.integers(0, 2)), 0, 0], [1, h, w, c], [1, 2, int(rng.integers(1, 3)), 1])]
    if kind == "upsample":
        return [net.upsample(image(net), int(rng.integers(2, 4)), bool(rng.random() < 0.5))]
    if kind == "softmax":
        x = net.input([1, int(rng.integers(2, 40))])
        net.graph.tensors[x].quantization.scale[0] *= pick(rng, 0.2, 1, 5)
        return [net.softmax(x)]
    if kind == "requantize":
        return [net.requantize(image(net))]
    if kind == "change_type":
        other = np.uint8 if net.dtype == np.int8 else np.int8
        return [net.requantize(image(net), other)]
    if kind == "extremum":
        x = image(net)
        c = net.tensor([1], scale=net.scale(x), zero=net.zero(x), data=[int(rng.integers(net.info().min, net.info().max))])
        y = net.like(x, net.shape(x))
        return [net.op(pick(rng, "MAXIMUM", "MINIMUM"), [x, c], [y], schema.MaximumMinimumOptionsT())]
    raise ValueError(kind)


KINDS = [
    "dense", "dense_rows", "conv", "conv", "conv", "add", "sub", "add_constant", "sub_constant", "mul_constant", "mul_channels", "add_channels", "sub_channels",
    "MAX_POOL_2D", "AVERAGE_POOL_2D", "mean", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "HARD_SWISH", "TANH", "ABS",
    "LOGISTIC", "LEAKY_RELU", "pad_conv", "pad_value", "pad_channels", "concat", "split", "slice", "strided_slice", "upsample",
    "softmax", "requantize", "change_type", "extremum", "transpose_conv",
    "batches", "reduce_max",
]
SIGNED_ONLY = {"ABS", "RELU_0_TO_1"}
WIDE = ["conv", "dense", "MAX_POOL_2D", "mean", "transpose_conv", "softmax"]


def random_case(seed):
    rng = np.random.default_rng(seed)
    dtype = pick(rng, np.int8, np.int8, np.int8, np.uint8, np.int16)
    kinds = WIDE if dtype == np.int16 else [k for k in KINDS if dtype == np.int8 or k not in SIGNED_ONLY]
    kind = pick(rng, *kinds)
    net = Net(rng, dtype)
    outputs = single(net, kind)
    return f"{seed:05}_{kind}_{np.dtype(dtype).name}", net.write(outputs)


def detector(rng):
    """Branches, concat, dilation, upsampling, two heads."""
    net = Net(rng)
    x = net.input([1, 16, 16, 3])
    a = net.conv(x, 8, (3, 3), (2, 2), act=RELU6)
    b = net.conv(a, 8, (3, 3), d=(2, 2), act=RELU)
    c = net.depthwise(b, 1, (3, 3), (2, 2), act=RELU6)
    c = net.conv(c, 12, (1, 1), act=RELU)
    up = net.upsample(net.conv(c, 8, (1, 1)), 2, True)
    merged = net.arithmetic("ADD", b, up, RELU)
    parts = net.split(merged, 2)
    joined = net.concat([net.pool("MAX_POOL_2D", p, (3, 3), (1, 1), SAME) for p in reversed(parts)])
    scores = net.reshape(net.conv(joined, 4, (3, 3)), [1, 128, 2])
    return [net.softmax(scores), net.conv(c, 16, (1, 1))], net


def streaming(rng):
    """1-D depthwise network: two-dimensional operators with a dimension of 1, as converters write them."""
    net = Net(rng)
    x = net.input([1, 1, 30, 16])
    y = net.pad(x, [[0, 0], [0, 0], [2, 0], [0, 0]])
    y = net.depthwise(y, 1, (1, 3), padding=VALID, act=RELU)
    y = net.conv(y, 24, (1, 1), act=RELU)
    y = net.depthwise(y, 1, (1, 5), d=(1, 2), padding=SAME, act=RELU)
    y = net.conv(y, 24, (1, 1), (1, 2), act=RELU)
    y = net.mean(y, [1, 2], False)
    return [net.softmax(net.dense(y, 5))], net


def activations(rng):
    """Mobile-style blocks with every kind of activation function."""
    net = Net(rng)
    x = net.input([1, 8, 8, 4])
    y = net.unary("HARD_SWISH", net.conv(x, 8, (3, 3)), options=schema.HardSwishOptionsT())
    options = schema.LeakyReluOptionsT()
    options.alpha = 0.1
    y = net.unary("LEAKY_RELU", net.depthwise(y, 2, (3, 3), (2, 2)), options=options)
    gate = net.unary("LOGISTIC", net.conv(y, 6, (1, 1)), 1 / 256, -128)
    other = net.unary("TANH", net.conv(y, 6, (1, 1)), 1 / 128, 0)
    y = net.arithmetic("ADD", gate, other)
    y = net.arithmetic("MUL", y, net.constant([6]))
    y = net.pool("AVERAGE_POOL_2D", y, (2, 2), (2, 2))
    return [net.dense(net.reshape(y, [1, 24]), 7)], net


def unsigned(rng):
    """uint8 network in the older style: one scale per weight tensor, zero points everywhere."""
    net = Net(rng, np.uint8)
    x = net.input([1, 9, 9, 3])
    y = net.conv(x, 6, (3, 3), (2, 2), act=RELU6)
    z = net.depthwise(y, 1, (3, 3), act=RELU6)
    z = net.conv(z, 6, (1, 1))
    y = net.arithmetic("ADD", y, z)
    y = net.concat([y, net.pool("MAX_POOL_2D", z, (3, 3), (1, 1), SAME)])
    y = net.pool("AVERAGE_POOL_2D", y, (5, 5), (5, 5))
    return [net.softmax(net.dense(net.reshape(y, [1, 12]), 4))], net


def wide(rng):
    """16-bit activations, 8-bit weights, 64-bit biases, softmax."""
    net = Net(rng, np.int16)
    x = net.input([1, 6, 6, 3])
    y = net.conv(x, 5, (3, 3), act=RELU)
    y = net.depthwise(y, 1, (3, 3), (2, 2))
    y = net.pool("MAX_POOL_2D", y, (3, 3), (3, 3))
    return [net.softmax(net.dense(net.reshape(y, [1, 5]), 4))], net


def joins(rng):
    """Joins along rows before and behind the last layer, a transposition before a layer, curves and parts on the host."""
    net = Net(rng)
    x = net.input([1, 1, 12, 6])
    state = net.like(x, [1, 1, 4, 6])
    net.graph.inputs.append(state)
    y = net.depthwise(net.concat([state, x], axis=2), 1, (1, 5), padding=VALID, act=RELU)
    y = net.conv(y, 8, (1, 1))
    turned = net.like(y, [1, 1, 8, 12])
    y = net.op("TRANSPOSE", [y, net.ints([0, 1, 3, 2])], [turned], schema.TransposeOptionsT())
    a, b = net.conv(y, 6, (1, 3)), net.conv(y, 6, (1, 3), (1, 2))
    net.graph.tensors[b].quantization = net.graph.tensors[a].quantization
    parts = [net.reshape(a, [1, 16, 3]), net.reshape(b, [1, 8, 3])]
    all_ = net.concat(parts, axis=1)
    scores = net.unary("LOGISTIC", all_, 1 / 256, -128)
    turned = net.like(all_, [1, 3, 24])
    turned = net.op("TRANSPOSE", [all_, net.ints([0, 2, 1])], [turned], schema.TransposeOptionsT())
    return [scores, net.slice(turned, [0, 1, 3], [1, 2, 20])], net


def enlarging(rng):
    """Floats in and out; transposed convolutions of even and odd kernels, with and without SAME padding."""
    net = Net(rng)
    x = net.conv(net.float_input([1, 6, 5, 3]), 20, (3, 3), act=RELU)
    a = net.transpose_conv(x, 6, (2, 2), (2, 2))
    b = net.transpose_conv(x, 17, (3, 3), (2, 2))
    net.graph.tensors[b].quantization = net.graph.tensors[a].quantization
    y = net.transpose_conv(net.concat([a, b]), 2, (4, 5), (2, 1), VALID)
    return [net.float_output(y)], net


def batches(rng):
    """Dilation by batches, of rows and columns whose number is no multiple; a maximum over all pixels."""
    net = Net(rng)
    x = net.conv(net.input([1, 9, 11, 3]), 8, (3, 3), act=RELU6)
    y = net.in_batches(x, (2, 3), (3, 3), lambda x: net.depthwise(x, 1, (3, 3), padding=VALID))
    y = net.in_batches(y, (1, 4), (1, 3), lambda x: net.conv(x, 10, (1, 3), padding=VALID, act=RELU))
    return [net.reduce_max(y, [1, 2], False)], net


KEPT = {"detector": detector, "streaming": streaming, "activations": activations, "unsigned": unsigned, "wide": wide, "joins": joins, "enlarging": enlarging, "batches": batches}


def save(folder, name, data):
    path = os.path.join(folder, name + ".tflite")
    with open(path, "wb") as f:
        f.write(data)
    try:
        arrays = vectors(path)
    except (RuntimeError, ValueError) as e:
        # The kernels refuse some drawn scales.
        print(f"{name}: not taken: {str(e).splitlines()[0]}")
        os.remove(path)
        return
    np.savez(os.path.join(folder, name + ".npz"), **arrays)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    if args.random == 0:
        for i, (name, make) in enumerate(KEPT.items()):
            outputs, net = make(np.random.default_rng(args.seed + i))
            save(args.folder, name, net.write(outputs))
    for i in range(args.random):
        name, data = random_case(args.seed * 100000 + i)
        save(args.folder, name, data)


if __name__ == "__main__":
    main()
