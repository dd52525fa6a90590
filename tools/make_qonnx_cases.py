#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Makes the small QONNX networks and vectors of compiler/tests/qonnx (one .onnx and one .npz each), from fixed seeds.

    tools/make_qonnx_cases.py compiler/tests/qonnx

Scales are powers of two, so that the reference's float sums are exact, but for a few networks' last layers; batch norms and biases are
arbitrary floats. The
reference is the executor of the Python package `qonnx` 1.0.0.
"""
import argparse
import pathlib
import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.transformation.extract_quant_scale_zeropt import ExtractQuantScaleZeroPt
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qonnx_to_qcdq import QuantToQCDQ
from qonnx.util.cleanup import cleanup_model
from vectors import save


class Net:
    """A network in the making; methods return the name of their output tensor."""

    def __init__(self, seed, dims):
        self.rng = np.random.default_rng(seed)
        self.dims, self.nodes, self.constants, self.count = dims, [], [], 0

    def const(self, value):
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.asarray(value).dtype), name))
        return name

    def f32(self, value):
        return self.const(np.asarray(value, dtype=np.float32))

    def op(self, kind, *inputs, domain="", **attributes):
        self.count += 1
        out = f"t{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], f"{kind}_{self.count}", domain=domain, **attributes))
        return out

    def quant(self, x, scale, bits, signed=1, narrow=0, zero_point=0.0, mode="ROUND"):
        args = [x, self.f32(scale), self.f32(zero_point), self.f32(bits)]
        return self.op("Quant", *args, domain="qonnx.custom_op.general", signed=signed, narrow=narrow, rounding_mode=mode)

    def bipolar(self, x, scale=1.0):
        return self.op("BipolarQuant", x, self.f32(scale), domain="qonnx.custom_op.general")

    def weights(self, shape, bits, scale):
        w = self.rng.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), shape) * np.asarray(scale)
        return self.quant(self.f32(w + self.rng.uniform(-0.2, 0.2, shape) * np.asarray(scale)), scale, bits, narrow=1)

    def batch_norm(self, x, channels, factor, negative=0.25):
        sign = np.where(self.rng.random(channels) < negative, -1, 1)
        gamma = sign * self.rng.uniform(0.3, 1.5, channels) * factor
        args = [gamma, self.rng.normal(0, 0.4, channels), self.rng.normal(0, 0.4 / factor, channels)]
        args.append(self.rng.uniform(0.3, 2, channels))
        return self.op("BatchNormalization", x, *[self.f32(a) for a in args], epsilon=1e-5)

    def model(self, output):
        value = lambda n, d: helper.make_tensor_value_info(n, TensorProto.FLOAT, d)
        graph = helper.make_graph(self.nodes, "case", [value("x", self.dims)], [value(output, None)], self.constants)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def convolutions():
    n = Net(1, [1, 3, 9, 11])
    x = n.quant("x", 1 / 256, 8, signed=0)
    x = n.op("Conv", x, n.weights([8, 3, 3, 3], 4, 2.0 ** n.rng.integers(-4, -1, (8, 1, 1, 1))), n.f32(n.rng.normal(0, 0.2, 8)),
             pads=[1, 1, 1, 1], strides=[2, 2])
    x = n.quant(n.batch_norm(x, 8, 1.0), 1 / 8, 4, signed=0)
    x = n.op("Conv", x, n.weights([8, 1, 3, 3], 3, 0.25), pads=[1, 1, 1, 1], group=8)
    x = n.quant(n.batch_norm(x, 8, 0.4), 1 / 4, 3)
    x = n.op("Relu", x)
    x = n.op("Conv", x, n.weights([6, 4, 1, 3], 5, 0.125), group=2, dilations=[1, 2], pads=[0, 3, 0, 1])
    x = n.op("Clip", n.op("Relu", x), "", n.f32(3.3))
    x = n.quant(x, 1 / 2, 2, signed=0)
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = n.op("Flatten", x)
    x = n.op("Gemm", x, n.weights([10, 54], 2, 0.5), n.f32(n.rng.normal(0, 1, 10)), transB=1)
    return n.model(x)


def residual():
    n = Net(2, [1, 4, 8, 8])
    mean, spread = n.rng.uniform(0.3, 0.6, (4, 1, 1)), n.rng.uniform(0.2, 0.3, (1, 4, 1, 1))
    x = n.quant(n.op("Div", n.op("Sub", "x", n.f32(mean)), n.f32(spread)), 1 / 16, 6)
    a = n.quant(n.batch_norm(n.op("Conv", x, n.weights([6, 4, 3, 3], 3, 0.25), pads=[1, 1, 1, 1]), 6, 0.5), 0.5, 4)
    b = n.quant(n.batch_norm(n.op("Conv", x, n.weights([6, 4, 1, 1], 4, 0.125)), 6, 0.5), 0.125, 5, mode="FLOOR")
    s = n.quant(n.op("Mul", n.op("Add", a, b), n.f32(0.37)), 0.25, 4, signed=0, zero_point=3.0)
    c = n.op("Conv", s, n.weights([5, 6, 3, 3], 2, 0.5), pads=[1, 1, 1, 1])
    c = n.quant(n.op("Mul", c, n.f32(0.21)), 0.25, 4, signed=0, zero_point=3.0, mode="CEIL")
    y = n.op("AveragePool", n.op("Concat", s, c, axis=1), kernel_shape=[2, 2], strides=[2, 2])
    y = n.quant(n.op("Add", y, n.f32(0.013)), 0.0625, 6, zero_point=-2.0)
    y = n.quant(n.op("Conv", y, n.weights([7, 11, 1, 1], 4, 0.5)), 0.25, 7, mode="HALF_UP")
    return n.model(n.op("Sub", n.f32(1.5), n.op("GlobalAveragePool", y)))


def bipolar():
    n = Net(3, [1, 6, 7, 2])
    x = n.op("Transpose", "x", perm=[0, 3, 1, 2])
    x = n.bipolar(n.op("Sub", n.op("Mul", x, n.f32(2.0)), n.f32([1.0])))
    x = n.op("Conv", x, n.bipolar(n.f32(n.rng.normal(0, 1, (8, 2, 3, 3))), 0.5))
    x = n.bipolar(n.batch_norm(x, 8, 0.3), 0.25)
    x = n.op("Conv", x, n.bipolar(n.f32(n.rng.normal(0, 1, (4, 8, 2, 2)))))
    x = n.quant(n.batch_norm(x, 4, 0.3), 1.0, 2, narrow=1)
    x = n.op("Reshape", x, n.const(np.array([0, -1], dtype=np.int64)))
    x = n.op("MatMul", x, n.op("Transpose", n.bipolar(n.f32(n.rng.normal(0, 1, (9, 48)))), perm=[1, 0]))
    x = n.quant(x, 1.0, 1, signed=1)
    return n.model(n.op("MatMul", x, n.weights([9, 5], 3, 0.5)))


def steep():
    n = Net(4, [1, 3, 6, 6])
    x = n.quant("x", 0.25, 2, signed=0)
    x = n.op("Conv", x, n.bipolar(n.f32(n.rng.normal(0, 1, (4, 3, 2, 2)))))
    x = n.op("MaxPool", n.batch_norm(x, 4, 1.0, negative=0), kernel_shape=[2, 2], strides=[1, 1], pads=[1, 0, 1, 0])
    x = n.quant(x, 0.0625, 8)
    x = n.op("GlobalMaxPool", x)
    return n.model(n.op("Squeeze", x, n.const(np.array([2, 3], dtype=np.int64))))


def thresholds():
    """FINN's form: a binary convolutional network whose activations are thresholds, uneven ones, with scale and bias."""
    n = Net(5, [1, 3, 8, 8])
    general = dict(domain="qonnx.custom_op.general")
    x = n.quant("x", 1 / 256, 8, signed=0)
    x = n.op("Conv", x, n.bipolar(n.f32(n.rng.normal(0, 1, (8, 3, 3, 3)))))
    t = np.sort(n.rng.normal(0, 0.7, (8, 1)), axis=1)
    x = n.op("MultiThreshold", x, n.f32(t), out_dtype="BIPOLAR", out_scale=2.0, out_bias=-1.0, data_layout="NCHW", **general)
    x = n.op("Conv", x, n.bipolar(n.f32(n.rng.normal(0, 1, (6, 8, 3, 3)))))
    t = np.sort(n.rng.integers(-20, 20, (6, 7)), axis=1)
    x = n.op("MultiThreshold", x, n.f32(t), out_dtype="UINT3", data_layout="NCHW", **general)
    x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = n.op("Flatten", x)
    x = n.op("MatMul", x, n.weights([24, 6], 3, 0.5))
    t = np.sort(n.rng.normal(0, 6, (1, 3)), axis=1)
    x = n.op("MultiThreshold", x, n.f32(t), out_dtype="INT2", out_bias=-2.0, **general)
    return n.model(n.op("MatMul", x, n.weights([6, 4], 2, 1.0)))


def perceptron():
    """Layers of 1, 2 and 3 bits, a truncation, a sigmoid, and a square that only a table gives."""
    n = Net(6, [1, 20])
    x = n.quant("x", 1 / 8, 3, signed=0)
    x = n.quant(n.batch_norm(n.op("MatMul", x, n.bipolar(n.f32(n.rng.normal(0, 1, (20, 16))))), 16, 0.5), 0.5, 2)
    x = n.quant(n.batch_norm(n.op("MatMul", x, n.weights([16, 16], 2, 0.5)), 16, 1.5), 0.25, 3, signed=0)
    x = n.op("MatMul", x, n.weights([16, 12], 3, 0.25))
    x = n.op("Trunc", n.op("Mul", x, n.f32(2.0)), n.f32(0.0625), n.f32(0.0), n.f32(9), n.f32(5), domain="qonnx.custom_op.general", rounding_mode="FLOOR")
    x = n.quant(n.op("Sigmoid", n.op("Sub", x, n.f32(0.3))), 1 / 32, 5, signed=0)
    x = n.quant(n.op("Mul", x, x), 1 / 16, 4, signed=0)
    return n.model(n.op("MatMul", x, n.weights([12, 5], 3, 0.5)))


def stream():
    """1-D depthwise convolutions over a stream."""
    n = Net(7, [1, 6, 32])
    x = n.quant("x", 1 / 16, 5)
    x = n.op("Conv", x, n.weights([6, 1, 5], 4, 2.0 ** n.rng.integers(-4, -1, (6, 1, 1))), group=6, pads=[4, 0])
    x = n.quant(n.batch_norm(x, 6, 2.0, negative=0.1), 1 / 8, 4, signed=0)
    x = n.op("Conv", x, n.weights([8, 6, 1], 3, 0.25))
    x = n.quant(n.op("Relu", x), 1 / 4, 3, signed=0)
    x = n.op("Conv", x, n.weights([8, 1, 3], 2, 0.5), group=8, dilations=[2], strides=[2])
    x = n.op("LeakyRelu", n.batch_norm(x, 8, 1.0, negative=0), alpha=0.125)
    x = n.quant(x, 1 / 4, 6)
    return n.model(n.op("Conv", x, n.weights([3, 8, 1], 4, 0.5)))


def brevitas(quantized=False):
    """Scales as training gives them: the last product's float sums are rounded on the way, unless a quantizer follows."""
    n = Net(8, [1, 3, 10, 10])

    def conv(x, oc, ic, bits, stride=1):
        scale = n.rng.uniform(0.02, 0.1, (oc, 1, 1, 1)).astype(np.float32)
        return n.op("Conv", x, n.weights([oc, ic, 3, 3], bits, scale), kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2, group=1,
                    dilations=[1, 1])

    x = n.quant("x", 0.0078, 8)
    x = n.quant(n.op("Relu", n.batch_norm(conv(x, 8, 3, 8), 8, 0.3)), 0.113, 4, signed=0)
    x = n.quant(n.op("Relu", n.batch_norm(conv(x, 12, 8, 4, stride=2), 12, 0.3)), 0.137, 4, signed=0)
    x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    x = n.op("Reshape", x, n.const(np.array([1, 48], dtype=np.int64)))
    x = n.op("Gemm", x, n.weights([7, 48], 4, 0.0917), n.f32(n.rng.normal(0, 1, 7)), transB=1)
    return n.model(n.quant(x, 0.0713, 6) if quantized else x)


def product():
    """A last product by weights that stand as the product takes them."""
    n = Net(9, [1, 22])
    x = n.quant(n.op("Relu", n.op("MatMul", n.quant("x", 0.0313, 3, signed=0), n.weights([22, 27], 3, 0.217))), 0.171, 3, signed=0)
    return n.model(n.op("MatMul", x, n.weights([27, 6], 3, 0.0731)))


def pooled():
    """An average that nothing quantizes before the last layer."""
    n = Net(10, [1, 4, 6, 6])
    x = n.quant("x", 0.125, 4)
    x = n.quant(n.op("Relu", n.op("Conv", x, n.weights([6, 4, 3, 3], 4, 0.25), pads=[1, 1, 0, 1])), 0.171, 4, signed=0)
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.model(n.op("Gemm", x, n.weights([5, 6], 4, 0.0917), n.f32(n.rng.normal(0, 1, 5)), transB=1))


def variant(model, *transformations):
    """The network as the package's own transformations write it; they draw names."""
    random.seed(1)
    wrapper = cleanup_model(ModelWrapper(model))
    for t in transformations:
        wrapper = wrapper.transform(t)
    return wrapper.model


VARIANTS = {
    "channels_last": lambda: variant(brevitas(), ConvertToChannelsLastAndClean()),
    "extracted": lambda: variant(brevitas(), ExtractQuantScaleZeroPt()),
    "qcdq": lambda: variant(brevitas(quantized=True), QuantToQCDQ()),
}


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("directory", type=pathlib.Path)
    directory = args.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    cases = {"convolutions": convolutions, "residual": residual, "bipolar": bipolar, "steep": steep}
    cases |= {"thresholds": thresholds, "perceptron": perceptron, "stream": stream}
    cases |= {"brevitas": brevitas, "product": product, "pooled": pooled} | VARIANTS
    for name, make in cases.items():
        model = make()
        onnx.save(model, directory / f"{name}.onnx")
        wrapper = ModelWrapper(model).transform(InferShapes())
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        inputs = np.random.default_rng(100).random([8] + dims[1:], dtype=np.float32)
        out = model.graph.output[0].name
        expected = [execute_onnx(wrapper, {model.graph.input[0].name: i[None]})[out] for i in inputs]
        save(directory / f"{name}.npz", {"input": inputs, "expected": np.concatenate(expected).astype(np.float32)})
        print(name, expected[0].shape, np.unique(np.stack(expected)).size, "distinct values")


if __name__ == "__main__":
    main()
