#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Makes the small QDQ and integer-operator ONNX networks and vectors of compiler/tests/onnx, from fixed seeds.

    tools/make_onnx_cases.py compiler/tests/onnx

Reference: ONNX Runtime (Python package `onnxruntime`) on the CPU, optimizations off. In networks of DequantizeLinear /
QuantizeLinear every convolution and product between the two is handed to it as the integer operator (QLinearConv,
QLinearMatMul, QGemm, QLinearGlobalAveragePool) that it means; left to itself ONNX Runtime computes some of them in floats.
"""
import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from vectors import save

I8, U8 = np.int8, np.uint8


class Net:
    """A network in the making; methods return the name of their output tensor."""

    def __init__(self, seed, dims, kind=TensorProto.FLOAT):
        self.rng = np.random.default_rng(seed)
        self.dims, self.kind = dims, kind
        self.nodes, self.constants, self.count = [], [], 0

    def const(self, value):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{self.count}"))
        return f"c{self.count}"

    def op(self, kind, *inputs, domain="", outputs=1, **attributes):
        self.count += 1
        names = [f"t{self.count}"] if outputs == 1 else [f"t{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"{kind}_{self.count}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def q(self, x, scale, zero, kind=I8):
        return self.op("QuantizeLinear", x, self.const(np.float32(scale)), self.const(kind(zero)))

    def dq(self, x, scale, zero, kind=I8):
        return self.op("DequantizeLinear", x, self.const(np.float32(scale)), self.const(kind(zero)))

    def qdq(self, x, scale, zero, kind=I8):
        return self.dq(self.q(x, scale, zero, kind), scale, zero, kind)

    def weights(self, shape, scale, axis=0, kind=I8, zero=0, bias=None, sx=None):
        """Dequantized weights, and a dequantized int32 bias in the scale of the sums."""
        info = np.iinfo(kind)
        low = info.min + 1 if kind is I8 else info.min
        w = self.rng.integers(low, info.max + 1, shape).astype(kind)
        scale = np.asarray(scale, np.float32)
        zeros = np.full(scale.shape, zero, kind)
        out = [self.op("DequantizeLinear", self.const(w), self.const(scale), self.const(zeros), axis=axis)]
        if bias is not None:
            b = self.rng.integers(-bias, bias, shape[axis]).astype(np.int32)
            sb = np.broadcast_to(np.float32(sx) * scale, b.shape).astype(np.float32)
            out.append(self.op("DequantizeLinear", self.const(b), self.const(sb), self.const(np.zeros(b.shape, np.int32)), axis=0))
        return out

    def model(self, *outputs, opset=13, extra=()):
        value = lambda n, k, d: helper.make_tensor_value_info(n, k, d)
        outs = [helper.make_empty_tensor_value_info(o) for o in outputs]
        graph = helper.make_graph(self.nodes, "case", [value("x", self.kind, self.dims)], outs, self.constants)
        opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in extra]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        if not extra:
            model = onnx.shape_inference.infer_shapes(model)
        return model


def scales(n, count, around):
    return (around * n.rng.uniform(0.5, 1.5, count)).astype(np.float32)


def qdq_conv():
    """int8: strides, groups, dilation, depthwise, ReLU, Clip, MaxPool, per-channel weights, Gemm."""
    n = Net(1, [1, 3, 12, 10])
    s = [0.031, 0.042, 0.055, 0.061, 0.047, 0.12]
    x = n.qdq("x", s[0], -3)
    x = n.op("Conv", x, *n.weights([8, 3, 3, 3], scales(n, 8, 0.004), bias=4000, sx=s[0]), pads=[1, 1, 1, 1], strides=[2, 2])
    x = n.qdq(n.op("Relu", x), s[1], -128)
    x = n.op("Conv", x, *n.weights([8, 1, 3, 3], scales(n, 8, 0.006), bias=2000, sx=s[1]), group=8, pads=[2, 2, 2, 2], dilations=[2, 2])
    x = n.qdq(n.op("Clip", x, n.const(np.float32(0)), n.const(np.float32(6))), s[2], -128)
    x = n.qdq(n.op("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), s[2], -128)
    x = n.op("Conv", x, *n.weights([6, 4, 1, 3], 0.005, bias=2000, sx=s[2]), group=2, pads=[0, 1, 0, 1])
    x = n.qdq(x, s[3], 11)
    x = n.op("Flatten", x)
    x = n.op("Gemm", x, *n.weights([10, 180], scales(n, 10, 0.003), bias=3000, sx=s[3]), transB=1)
    return n.model(n.qdq(x, s[5], 4)), "float"


def qdq_uint8():
    """uint8 activations and weights with zero points, MatMul, integer output."""
    n = Net(2, [1, 4, 6, 6], TensorProto.UINT8)
    s = [0.02, 0.07, 0.09]
    x = n.dq("x", s[0], 131, U8)
    x = n.op("Conv", x, *n.weights([8, 4, 3, 3], 0.003, kind=U8, zero=121, bias=3000, sx=s[0]))
    x = n.qdq(x, s[1], 120, U8)
    x = n.op("Reshape", x, n.const(np.array([1, 128], np.int64)))
    x = n.op("MatMul", x, *n.weights([128, 7], 0.004, kind=U8, zero=128, axis=1))
    return n.model(n.q(x, s[2], 128, U8)), "uint8"


def qdq_residual():
    """Additions of unlike scales, concatenation of unlike scales, global average, sigmoid and x * sigmoid(x) by table."""
    n = Net(3, [1, 6, 8, 8])
    x = n.qdq("x", 0.0302731, 2)
    a = n.qdq(n.op("Conv", x, *n.weights([6, 6, 3, 3], scales(n, 6, 0.004), bias=3000, sx=0.0302731), pads=[1, 1, 1, 1]), 0.0413847, -7)
    x = n.qdq(n.op("Add", x, a), 0.0517393, -4)
    b = n.qdq(n.op("Conv", x, *n.weights([5, 6, 1, 1], scales(n, 5, 0.006), bias=3000, sx=0.0517393)), 0.0371926, 9)
    b = n.qdq(n.op("Mul", b, n.op("Sigmoid", b)), 0.0331871, -90)
    c = n.qdq(n.op("Concat", x, b, axis=1), 0.0523619, -11)
    c = n.qdq(n.op("Conv", c, *n.weights([9, 11, 3, 3], scales(n, 9, 0.003), bias=3000, sx=0.0523619), pads=[1, 1, 1, 1], strides=[2, 2]), 0.06, 1)
    c = n.qdq(n.op("LeakyRelu", c, alpha=0.1), 0.045, -60)
    c = n.qdq(n.op("GlobalAveragePool", c), 0.021, -33)
    return n.model(n.op("Softmax", n.op("Flatten", c), axis=1)), "float"


def qdq_stream():
    """1-D depthwise convolutions over a stream, int8, with Pad, Squeeze and Tanh."""
    n = Net(4, [1, 4, 40])
    s = [0.03, 0.05, 0.04, 1 / 128]
    x = n.qdq("x", s[0], 0)
    x = n.op("Conv", x, *n.weights([8, 4, 5], scales(n, 8, 0.004), bias=2000, sx=s[0]), pads=[4, 0], strides=[2])
    x = n.qdq(n.op("Relu", x), s[1], -128)
    x = n.op("Conv", x, *n.weights([8, 1, 3], scales(n, 8, 0.006), bias=1000, sx=s[1]), group=8, pads=[2, 2], dilations=[2])
    x = n.qdq(x, s[2], 5)
    x = n.qdq(n.op("Tanh", x), s[3], 0)
    x = n.op("Conv", x, *n.weights([4, 8, 1], 0.01, bias=1000, sx=s[3]))
    return n.model(n.qdq(x, 0.02, -5)), "float"


def qdq_heads():
    """x * sigmoid(x) with quantizers between, pixels in steps, heads joined over cells, softmax behind quantizers, an average
    over padding that counts, a sum whose input scale is larger than the output's."""
    n = Net(8, [1, 3, 16, 12])
    x = n.qdq("x", 0.03, 4)
    parts = []
    for i, j in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        k = lambda v: n.const(np.array(v, np.int64))
        parts.append(n.op("Slice", x, k([i, j]), k([99, 99]), k([2, 3]), k([2, 2])))
    x = n.op("Concat", *parts, axis=1)
    x = n.qdq(n.op("Conv", x, *n.weights([8, 12, 3, 3], scales(n, 8, 0.002), bias=3000, sx=0.03), pads=[1] * 4), 0.04, -9)
    s = n.qdq(n.op("Sigmoid", x), 1 / 256, -128)
    x = n.qdq(n.op("Mul", x, s), 0.021, -117)
    y = n.qdq(n.op("Conv", x, *n.weights([8, 8, 1, 1], scales(n, 8, 0.006), bias=3000, sx=0.021)), 0.0607, 6)
    x = n.qdq(n.op("Relu", n.op("Add", x, y)), 0.0387, -128)
    x = n.qdq(n.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), 0.0387 * 1.37, -128)
    heads = []
    for stride, cells in [(1, 48), (2, 12)]:
        h = n.qdq(n.op("Conv", x, *n.weights([6, 8, 3, 3], scales(n, 6, 0.003), bias=3000, sx=0.0387 * 1.37), pads=[1] * 4, strides=[stride] * 2), 0.07, 3)
        heads.append(n.qdq(n.op("Reshape", h, n.const(np.array([1, 6, cells], np.int64))), 0.07, 3))
    y = n.qdq(n.op("Concat", *heads, axis=2), 0.07, 3)
    boxes, scores = n.op("Split", y, n.const(np.array([4, 2], np.int64)), axis=1, outputs=2)
    scores = n.qdq(n.op("Softmax", n.qdq(scores, 0.07, 3), axis=1), 1 / 256, -128)
    return n.model(boxes, scores), "float"


def operators_tail():
    """The operator form with a sum of unlike scales, x * sigmoid(x), a join over cells and softmax."""
    n = Net(9, [1, 4, 10, 10], TensorProto.UINT8)
    f, u = (lambda v: n.const(np.float32(v))), (lambda v: n.const(U8(v)))
    ms = dict(domain="com.microsoft")
    w = lambda *shape: n.const(n.rng.integers(-127, 128, shape).astype(I8))

    def conv(x, sx, zx, shape, sy, zy, **more):
        sw = n.const(scales(n, shape[0], 0.3 / np.sqrt(np.prod(shape[1:])) / 40))
        return n.op("QLinearConv", x, f(sx), u(zx), w(*shape), sw, n.const(np.zeros(shape[0], I8)), f(sy), u(zy), **more)

    x = conv("x", 0.02, 120, (8, 4, 3, 3), 0.0177, 109, pads=[1] * 4)
    s = n.op("QLinearSigmoid", x, f(0.0177), u(109), f(1 / 256), u(0), **ms)
    x = n.op("QLinearMul", x, f(0.0177), u(109), s, f(1 / 256), u(0), f(0.0081), u(33), **ms)
    y = conv(x, 0.0081, 33, (8, 8, 1, 1), 0.0607, 130)
    x = n.op("QLinearAdd", x, f(0.0081), u(33), y, f(0.0607), u(130), f(0.0387), u(0), **ms)
    parts = []
    for stride, cells, scale in [(1, 100, 0.05), (2, 25, 0.061)]:
        h = conv(x, 0.0387, 0, (3, 8, 3, 3), scale, 128, pads=[1] * 4, strides=[stride] * 2)
        h = n.op("Transpose", h, perm=[0, 2, 3, 1])
        parts += [n.op("Reshape", h, n.const(np.array([1, cells, 3], np.int64))), f(scale), u(128)]
    y = n.op("QLinearConcat", f(0.061), u(128), *parts, axis=1, **ms)
    y = n.op("QLinearSoftmax", y, f(0.061), u(128), f(1 / 256), u(0), axis=2, opset=13, **ms)
    return n.model(y, extra=["com.microsoft"]), "uint8"


def operators():
    """QLinearConv, QLinearAdd, QLinearGlobalAveragePool, QLinearMatMul: the operator form, integer input and output."""
    n = Net(5, [1, 3, 9, 9], TensorProto.UINT8)
    f, u, i = (lambda v: n.const(np.float32(v))), (lambda v: n.const(U8(v))), (lambda v: n.const(I8(v)))
    w = lambda *shape: n.const(n.rng.integers(-127, 128, shape).astype(I8))
    sw = scales(n, 6, 0.004)
    x = n.op("QLinearConv", "x", f(0.02), u(128), w(6, 3, 3, 3), n.const(sw), n.const(np.zeros(6, I8)), f(0.0513127), u(3),
             n.const(n.rng.integers(-3000, 3000, 6).astype(np.int32)), pads=[1, 1, 1, 1])
    y = n.op("QLinearConv", x, f(0.0513127), u(3), w(6, 1, 3, 3), n.const(sw), n.const(np.zeros(6, I8)), f(0.0417731), u(100),
             pads=[1, 1, 1, 1], group=6)
    x = n.op("QLinearAdd", x, f(0.0513127), u(3), y, f(0.0417731), u(100), f(0.0629183), u(70), domain="com.microsoft")
    x = n.op("QLinearGlobalAveragePool", x, f(0.0629183), u(70), f(0.01), u(90), domain="com.microsoft", channels_last=0)
    x = n.op("Flatten", x)
    x = n.op("QLinearMatMul", x, f(0.01), u(90), w(6, 5), f(0.006), i(0), f(0.03), u(140))
    return n.model(x, extra=["com.microsoft"]), "uint8"


def integers():
    """ConvInteger and MatMulInteger with int64 chains, BitShift, residual sum and concatenation of integers."""
    n = Net(6, [1, 3, 8, 8], TensorProto.UINT8)
    k = lambda v: n.const(np.asarray(v, np.int64))
    w = lambda *shape: n.const(n.rng.integers(-7, 8, shape).astype(I8))

    def requant(x, channels, bits, shift):
        x = n.op("Cast", x, to=TensorProto.INT64)
        inc = n.rng.integers(900, 4000, (1, channels, 1, 1)) * n.rng.choice([1, 1, 1, -1], (1, channels, 1, 1))
        x = n.op("Add", n.op("Mul", x, k(inc)), k(n.rng.integers(-60000, 90000, (1, channels, 1, 1))))
        x = n.op("Min", n.op("Div", n.op("Max", x, k(0)), k(1 << shift)), k((1 << bits) - 1))
        return n.op("Cast", x, to=TensorProto.UINT8)

    x = n.op("ConvInteger", "x", w(6, 3, 3, 3), n.const(U8(128)), n.const(I8(0)), pads=[1, 1, 1, 1])
    x = requant(x, 6, 4, 19)
    x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = requant(n.op("ConvInteger", x, w(6, 6, 3, 3), pads=[1, 1, 1, 1]), 6, 3, 15)
    x = n.op("Concat", x, y, axis=1)
    x = n.op("ConvInteger", x, w(4, 12, 1, 1))
    x = n.op("Add", x, n.const(n.rng.integers(-50, 50, (1, 4, 1, 1)).astype(np.int32)))
    return n.model(x), "uint8"


def qdq_shared():
    """Quantizers written twice, as exporters do for two readers; means over rows and columns. Scales are powers of two: the
    reference's own float means are exact."""
    n = Net(10, [1, 3, 8, 8])
    x = n.qdq("x", 1 / 32, 3)
    x = n.op("Relu", n.op("Conv", x, *n.weights([6, 3, 3, 3], 1 / 128, bias=3000, sx=1 / 32), pads=[1] * 4, strides=[2] * 2))
    one, two = n.qdq(x, 1 / 16, -128), n.qdq(x, 1 / 16, -128)
    a = n.qdq(n.op("Conv", one, *n.weights([6, 6, 1, 1], 1 / 128, bias=3000, sx=1 / 16)), 1 / 16, 5)
    b = n.qdq(n.op("Add", a, two), 1 / 16, -7)
    mean = n.qdq(n.op("ReduceMean", b, axes=[2, 3], keepdims=0), 1 / 64, 2)
    kept = n.qdq(n.op("ReduceMean", a, axes=[-1, -2]), 1 / 64, 2)
    y = n.qdq(n.op("MatMul", mean, *n.weights([6, 5], 1 / 64, axis=1)), 0.03, 1)
    return n.model(y, kept), "float"


def qdq_enlarging():
    """Transposed convolutions, DepthToSpace, SpaceToDepth, shuffled channels. Scales are powers of two as in `qdq_shared`."""
    n = Net(11, [1, 3, 6, 5])
    k = lambda v: n.const(np.array(v, np.int64))
    x = n.qdq("x", 1 / 32, 3)
    a = n.op("ConvTranspose", x, *n.weights([3, 7, 3, 2], np.float32(2) ** -n.rng.integers(6, 8, 7).astype(np.float32), axis=1), strides=[2, 2], pads=[1, 0, 1, 0], output_padding=[1, 0])
    a = n.qdq(n.op("Relu", a), 1 / 32, -120)
    b = n.op("DequantizeLinear", n.const(n.rng.integers(-2000, 2000, 8).astype(np.int32)), n.const(np.float32(1 / 4096)), n.const(np.int32(0)))
    b = n.qdq(n.op("ConvTranspose", x, *n.weights([3, 8, 1, 4], 1 / 128), b, strides=[2, 2], pads=[0, 1, 0, 1], output_padding=[1, 0]), 1 / 32, 9)
    c = n.op("Conv", x, *n.weights([12, 3, 3, 3], 1 / 128, bias=2000, sx=1 / 32), pads=[1] * 4)
    c = n.qdq(n.op("DepthToSpace", c, blocksize=2, mode="CRD"), 1 / 32, -5)
    d = n.op("DepthToSpace", n.qdq(n.op("Conv", x, *n.weights([8, 3, 1, 1], 1 / 128)), 1 / 32, -5), blocksize=2)
    x = n.qdq(n.op("Concat", a, b, c, d, axis=1), 1 / 32, -60)
    x = n.op("Reshape", n.op("Transpose", n.op("Reshape", x, k([1, 2, 10, 12, 10])), perm=[0, 2, 1, 3, 4]), k([1, 20, 12, 10]))
    x = n.qdq(n.op("ConvTranspose", x, *n.weights([20, 1, 2, 2], 1 / 64), group=20, strides=[2, 2]), 1 / 32, 11)
    x = n.op("SpaceToDepth", x, blocksize=4)
    x = n.qdq(n.op("Conv", x, *n.weights([8, 320, 1, 1], 1 / 512)), 0.04, 11)
    return n.model(n.op("DepthToSpace", x, blocksize=2, mode="CRD")), "float"


def average_last():
    """A last convolution that nothing quantizes, its global average, and a normalization of that."""
    n = Net(13, [1, 3, 9, 7])
    x = n.qdq("x", 0.031, -3)
    x = n.op("Relu", n.op("Conv", x, *n.weights([20, 3, 3, 3], scales(n, 20, 0.004), bias=3000, sx=0.031), pads=[1] * 4))
    x = n.op("Conv", n.qdq(x, 0.042, -128), *n.weights([10, 20, 1, 1], scales(n, 10, 0.005), bias=2000, sx=0.042))
    x = n.op("Flatten", n.op("GlobalAveragePool", n.op("Relu", x)))
    statistics = [n.const(n.rng.uniform(*ends, 10).astype(np.float32)) for ends in ((0.5, 2), (-1, 1), (-0.5, 0.5), (0.2, 3))]
    return n.model(n.op("Softmax", n.op("BatchNormalization", x, *statistics, epsilon=2e-5), axis=1)), "float"


def operators_constants():
    """QLinearMul and QLinearAdd with constants: one, one per channel, before and behind the activation; a square with many ties."""
    n = Net(12, [1, 4, 6, 5], TensorProto.UINT8)
    f, u = (lambda v: n.const(np.float32(v))), (lambda v: n.const(U8(v)))
    codes = lambda *shape: n.const(n.rng.integers(0, 256, shape).astype(U8))
    op = lambda kind, a, b, y: n.op(kind, *a, *b, *y, domain="com.microsoft")
    x = op("QLinearMul", ["x", f(0.021), u(117)], [codes(4, 1, 1), f(0.013), u(101)], [f(0.0171), u(120)])
    x = op("QLinearAdd", [codes(1, 4, 1, 1), f(0.0173), u(140)], [x, f(0.0171), u(120)], [f(0.0231), u(131)])
    x = op("QLinearAdd", [x, f(0.0231), u(131)], [codes(), f(0.0091), u(7)], [f(0.0191), u(100)])
    w = n.const(n.rng.integers(-127, 128, (6, 4, 3, 3)).astype(I8))
    x = n.op("QLinearConv", x, f(0.0191), u(100), w, f(0.004), n.const(I8(0)), f(0.05), u(128), pads=[1] * 4)
    y = op("QLinearMul", [u(0), f(0.03), u(90)], [x, f(0.05), u(128)], [f(0.06), u(125)])
    square = op("QLinearMul", [x, f(0.5), u(128)], [x, f(0.0625), u(131)], [f(0.5), u(101)])
    x = n.op("Flatten", n.op("QLinearGlobalAveragePool", x, f(0.05), u(128), f(0.02), u(100), domain="com.microsoft", channels_last=0))
    x = op("QLinearAdd", [codes(6), f(0.0173), u(140)], [x, f(0.02), u(100)], [f(0.03), u(131)])
    return n.model(op("QLinearMul", [codes(1, 6), f(0.0173), u(140)], [x, f(0.03), u(131)], [f(0.0271), u(128)]), y, square, extra=["com.microsoft"]), "uint8"


def detector():
    """Two heads of different scales, upsampling, slices; decoding in floats on the host."""
    n = Net(7, [1, 3, 8, 12])
    x = n.qdq("x", 0.03, 1)
    a = n.qdq(n.op("Relu", n.op("Conv", x, *n.weights([8, 3, 3, 3], scales(n, 8, 0.004), bias=2000, sx=0.03), pads=[1, 1, 1, 1])), 0.05, -128)
    b = n.qdq(n.op("Relu", n.op("Conv", a, *n.weights([8, 8, 3, 3], scales(n, 8, 0.004), bias=2000, sx=0.05), pads=[1, 1, 1, 1], strides=[2, 2])), 0.06, -128)
    up = n.qdq(n.op("Resize", b, "", n.const(np.array([1, 1, 2, 2], np.float32)), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"), 0.06, -128)
    c = n.qdq(n.op("Concat", a, up, axis=1), 0.06, -128)
    heads = []
    for source, channels, scale in [(c, 16, 0.06), (b, 8, 0.06)]:
        h = n.qdq(n.op("Conv", source, *n.weights([6, channels, 1, 1], scales(n, 6, 0.005), bias=2000, sx=scale)), 0.08 - scale / 3, 7)
        h = n.op("Reshape", n.op("Transpose", h, perm=[0, 2, 3, 1]), n.const(np.array([1, -1, 6], np.int64)))
        heads.append(h)
    y = n.op("Concat", *heads, axis=1)
    box, cls = n.op("Split", y, n.const(np.array([4, 2], np.int64)), axis=2, outputs=2)
    box = n.op("Mul", box, n.const(np.array([0.1, 0.1, 0.2, 0.2], np.float32)))
    return n.model(box, n.op("Softmax", cls, axis=-1)), "float"


def integer_form(model):
    """The same network with integer operators between DequantizeLinear and QuantizeLinear."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    maker = {o: n for n in graph.node for o in n.output}
    readers = {}
    for n in graph.node:
        for i in n.input:
            readers.setdefault(i, []).append(n)
    nodes = []
    for n in graph.node:
        nodes.append(n)
        sources = [maker.get(i) for i in n.input]
        if n.op_type not in ("Conv", "MatMul", "Gemm", "GlobalAveragePool") or any(
                s is None or s.op_type != "DequantizeLinear" for s in sources):
            continue
        # What follows, down to the quantizer, stays where it is: behind a quantizer of its own.
        after = n
        while after.op_type != "QuantizeLinear":
            after = readers[after.output[0]][0]
        x, (scale, zero) = list(sources[0].input), after.input[1:3]
        out, domain = n.output[0] + "_integer", "" if n.op_type in ("Conv", "MatMul") else "com.microsoft"
        if n.op_type == "GlobalAveragePool":
            made = helper.make_node("QLinearGlobalAveragePool", x + [scale, zero], [out], domain=domain, channels_last=0)
        else:
            w, bias = list(sources[1].input), [s.input[0] for s in sources[2:]]
            if n.op_type == "Gemm":
                made = helper.make_node("QGemm", x + w + bias + [scale, zero], [out], domain=domain)
            else:
                kind = {"Conv": "QLinearConv", "MatMul": "QLinearMatMul"}[n.op_type]
                made = helper.make_node(kind, x + w + [scale, zero] + bias, [out])
            made.attribute.extend(a for a in n.attribute if a.name != "beta")
        nodes[-1:] = [made, helper.make_node("DequantizeLinear", [out, scale, zero], [n.output[0]])]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("directory", type=pathlib.Path)
    directory = args.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    for make in [qdq_conv, qdq_uint8, qdq_residual, qdq_stream, qdq_heads, qdq_shared, qdq_enlarging, operators, operators_tail, operators_constants, average_last, integers, detector]:
        model, kind = make()
        name = make.__name__
        onnx.save(model, directory / f"{name}.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        reference = integer_form(model) if name.startswith(("qdq", "detector")) else model
        session = onnxruntime.InferenceSession(reference.SerializeToString(), options, providers=["CPUExecutionProvider"])
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        rng = np.random.default_rng(100)
        if kind == "uint8":
            inputs = rng.integers(0, 256, [6] + dims[1:]).astype(U8)
        else:
            inputs = rng.normal(0, 1.6, [6] + dims[1:]).astype(np.float32)
        runs = [session.run(None, {"x": i[None]}) for i in inputs]
        arrays = {"input": inputs}
        for i, out in enumerate(model.graph.output):
            arrays[f"expected_{i}"] = np.concatenate([r[i] for r in runs])
        save(directory / f"{name}.npz", arrays)
        print(name, [(a.shape, np.unique(a).size) for k, a in arrays.items() if k != "input"])


if __name__ == "__main__":
    main()
