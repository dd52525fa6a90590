#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Networks of the shapes that Brevitas and FINN write, at their usual sizes with seeded weights, and vectors of qonnx.

    tools/make_large_qonnx.py build/large [NAME...]

Files are large and are not kept; `brickwork verify` compares them (see make_large_onnx.py).
"""

import numpy as np
import onnx
from make_qonnx_cases import Net
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from vectors import chosen, save

GENERAL = dict(domain="qonnx.custom_op.general")


class Large(Net):
    def __init__(self, seed, dims):
        super().__init__(seed, dims)
        self.known = {}  # shapes that qonnx does not find

    def w(self, shape, bits, scale=None):
        """Weights of few bits; 1 bit is bipolar. A scale of its own for each output channel unless one is given."""
        if bits == 1:
            return self.bipolar(self.f32(self.rng.normal(0, 1, shape)), scale or 1.0)
        scale = scale or self.rng.uniform(0.5, 1.0, [shape[0]] + [1] * (len(shape) - 1)).astype(np.float32) / 2 ** (bits - 1)
        return self.weights(shape, bits, scale)

    def norm(self, x, channels, spread):
        """A batch norm whose result has a spread of about 1 when its input has `spread`."""
        args = [self.rng.uniform(0.5, 1.5, channels), self.rng.normal(0, 0.3, channels), self.rng.normal(0, spread / 3, channels)]
        args.append(spread**2 * self.rng.uniform(0.7, 1.4, channels))
        return self.op("BatchNormalization", x, *[self.f32(a) for a in args], epsilon=1e-5)

    def act(self, x, bits, scale=None):
        return self.bipolar(x) if bits == 1 else self.quant(self.op("Relu", x), scale or 2.5 / (2**bits - 1), bits, signed=0)

    def topk(self, x):
        self.count += 1
        names = [f"t{self.count}_values", f"t{self.count}"]
        k = self.const(np.array([1], np.int64))
        self.nodes.append(helper.make_node("TopK", [x, k], names, f"TopK_{self.count}", axis=-1, largest=1, sorted=1))
        return names[1]


def cnv(wbits, abits):
    """Six convolutions without padding, two pools, three dense layers, the best class."""
    n = Large(1, [1, 3, 32, 32])
    x = n.quant(n.op("Sub", n.op("Mul", "x", n.f32(2.0)), n.f32(1.0)), 1 / 128, 8)
    ic = 3
    for i, oc in enumerate([64, 64, 128, 128, 256, 256]):
        x = n.op("Conv", x, n.w([oc, ic, 3, 3], wbits), kernel_shape=[3, 3])
        spread = np.sqrt(9 * ic) * (0.6 if i == 0 else 1) * (1 if wbits == 1 else 0.4)
        x = n.act(n.norm(x, oc, spread), abits)
        if i in (1, 3):
            x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        ic = oc
    x = n.op("Reshape", x, n.const(np.array([1, -1], np.int64)))
    for oc in [512, 512]:
        y = n.op("MatMul", x, n.op("Transpose", n.w([oc, ic], wbits), perm=[1, 0]))
        x, ic = n.act(n.norm(y, oc, np.sqrt(ic) * (1 if wbits == 1 else 0.4)), abits), oc
    x = n.op("MatMul", x, n.op("Transpose", n.w([10, ic], wbits), perm=[1, 0]))
    x = n.op("Add", n.op("Mul", x, n.f32(0.0317)), n.f32(-0.11))
    return (n, n.topk(x), TensorProto.INT64) if wbits == abits else (n, x)


def cnv_finn():
    """The same after FINN's streamlining: integer weights, thresholds, pools on [1, h, w, c], a scalar factor and offset last."""
    n = Large(2, [1, 3, 32, 32])
    x = n.op("MultiThreshold", "x", n.f32(np.arange(0.5, 255.5)[None] / 255), out_dtype="UINT8", **GENERAL)
    ic, first = 3, True
    for i, oc in enumerate([64, 64, 128, 128, 256, 256]):
        w = np.where(n.rng.normal(0, 1, [oc, ic, 3, 3]) < 0, -1, 1) if i < 4 else n.rng.integers(-1, 2, [oc, ic, 3, 3])
        x = n.op("Conv", x, n.f32(w), kernel_shape=[3, 3])
        spread = np.sqrt(9 * ic) * (147 if first else 1.7)
        t = np.round(np.sort(n.rng.normal(0, spread, [oc, 3]), axis=1))
        x = n.op("MultiThreshold", x, n.f32(t), out_dtype="UINT2", data_layout="NCHW", **GENERAL)
        first, ic = False, oc
        if i in (1, 3):
            x = n.op("Transpose", x, perm=[0, 2, 3, 1])
            n.known[x] = [1, 28, 28, 64] if i == 1 else [1, 10, 10, 128]
            x = n.op("MaxPoolNHWC", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], **GENERAL)
            x = n.op("Transpose", x, perm=[0, 3, 1, 2])
    x = n.op("Transpose", x, perm=[0, 2, 3, 1])
    x = n.op("MultiThreshold", x, n.f32(np.round(np.sort(n.rng.uniform(0, 3, [256, 3]), axis=1))), out_dtype="INT3", out_bias=-2.0, data_layout="NHWC", **GENERAL)
    x = n.op("Reshape", n.op("Transpose", x, perm=[0, 3, 1, 2]), n.const(np.array([1, 256], np.int64)))
    x = n.op("MatMul", x, n.f32(n.rng.integers(-1, 2, [256, 10])))
    return n, n.op("Add", n.op("Mul", x, n.f32(0.0625)), n.f32(n.rng.normal(0, 1, 10)))


def mlp(wbits, abits, width=1024):
    n = Large(3, [1, 1, 28, 28])
    x = n.op("Flatten", n.act(n.op("Sub", n.op("Mul", "x", n.f32(2.0)), n.f32(1.0)), abits), axis=1)
    ic = 784
    for oc in [width] * 3:
        y = n.op("MatMul", x, n.op("Transpose", n.w([oc, ic], wbits), perm=[1, 0]))
        x, ic = n.act(n.norm(y, oc, np.sqrt(ic) * (1 if wbits == 1 else 0.5)), abits), oc
    x = n.op("MatMul", x, n.op("Transpose", n.w([10, ic], wbits), perm=[1, 0]))
    return n, n.norm(x, 10, np.sqrt(ic))


def radio(bits=4):
    """A 1-D VGG over two channels of 1024 samples."""
    n = Large(4, [1, 2, 1024])
    x, ic = n.quant("x", 1 / 32, 8), 2
    for _ in range(7):
        x = n.op("Conv", x, n.w([64, ic, 3], bits), kernel_shape=[3], pads=[1, 1])
        x = n.act(n.norm(x, 64, np.sqrt(3 * ic) * 0.4), bits)
        x, ic = n.op("MaxPool", x, kernel_shape=[2], strides=[2]), 64
    x, ic = n.op("Flatten", x), 512
    for oc in [128, 128]:
        x = n.op("MatMul", x, n.op("Transpose", n.w([oc, ic], bits), perm=[1, 0]))
        x, ic = n.act(n.norm(x, oc, np.sqrt(ic) * 0.4), bits), oc
    return n, n.op("MatMul", x, n.op("Transpose", n.w([24, ic], bits), perm=[1, 0]))


def mobilenet(size=96, bits=4):
    n = Large(5, [1, 3, size, size])
    x, ic = n.quant("x", 1 / 255, 8, signed=0), 16

    def layer(x, shape, bits, s=1, groups=1):
        k = shape[2]
        y = n.op("Conv", x, n.w(shape, bits), kernel_shape=[k, k], strides=[s, s], pads=[k // 2] * 4, group=groups)
        return n.act(n.norm(y, shape[0], np.sqrt(np.prod(shape[1:])) * 0.4), 4)

    x = layer(x, [ic, 3, 3, 3], 8, 2)
    for oc, s in [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1), (512, 2)]:
        x = layer(layer(x, [ic, 1, 3, 3], bits, s, ic), [oc, ic, 1, 1], bits)
        ic = oc
    k = size // 32
    x = n.op("AveragePool", x, kernel_shape=[k, k], strides=[k, k])
    x = n.op("Trunc", n.op("Mul", x, n.f32(1.0)), n.f32(2.5 / 15 / 16), n.f32(0), n.f32(8), n.f32(4), rounding_mode="FLOOR", **GENERAL)
    x = n.op("Reshape", x, n.const(np.array([1, -1], np.int64)))
    return n, n.op("Gemm", x, n.w([100, ic], 8), n.f32(n.rng.normal(0, 0.1, 100)), transB=1)


def residual(bits=4):
    """CIFAR ResNet of 20 layers: sums of tensors of one scale."""
    n = Large(6, [1, 3, 32, 32])

    def conv(x, oc, ic, s=1, k=3):
        y = n.op("Conv", x, n.w([oc, ic, k, k], bits), kernel_shape=[k, k], strides=[s, s], pads=[k // 2] * 4)
        return n.norm(y, oc, np.sqrt(k * k * ic) * 0.3)

    x, ic = n.quant("x", 1 / 255, 8, signed=0), 3
    x, ic = n.act(conv(x, 32, ic), bits, 0.25), 32
    for oc in [32, 64, 128]:
        for i in range(3):
            s = 2 if oc > ic and i == 0 else 1
            y = n.quant(conv(n.act(conv(x, oc, ic, s), bits), oc, oc), 0.25, bits + 1)
            z = x if ic == oc else n.quant(conv(x, oc, ic, s, 1), 0.25, bits + 1)
            x, ic = n.act(n.op("Add", y, z), bits, 0.25), oc
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n, n.op("Gemm", n.quant(x, 1 / 32, 8, signed=0), n.w([10, 128], 8), n.f32(n.rng.normal(0, 0.1, 10)), transB=1)


CASES = {
    "cnv_1w1a": lambda: cnv(1, 1),
    "cnv_1w2a": lambda: cnv(1, 2),
    "cnv_2w2a": lambda: cnv(2, 2),
    "cnv_finn": cnv_finn,
    "lfc_1w1a": lambda: mlp(1, 1),
    "mlp_2w2a": lambda: mlp(2, 2, 512),
    "mlp_3w3a": lambda: mlp(3, 3, 512),
    "radio_4": radio,
    "mobilenet_4": mobilenet,
    "resnet20_4": residual,
}


def main():
    for directory, name, make in chosen(__doc__, CASES):
        n, out, *kind = make()
        model = n.model(out)
        if kind:
            model.graph.output[0].type.tensor_type.elem_type = kind[0]
        model.graph.value_info.extend(helper.make_tensor_value_info(k, TensorProto.FLOAT, d) for k, d in n.known.items())
        onnx.save(model, directory / f"{name}.onnx")
        wrapper = ModelWrapper(model).transform(InferShapes())
        dims = n.dims[1:]
        rng = np.random.default_rng(100)
        at = np.indices(dims).astype(np.float32)
        waves = [sum(np.sin(a * rng.uniform(0.05, 0.6) + rng.uniform(0, 6)) for a in at) / len(dims) for _ in range(2)]
        inputs = np.stack([(w + 1) / 2 for w in waves]).astype(np.float32)
        expected = [execute_onnx(wrapper, {"x": i[None]})[out] for i in inputs]
        save(directory / f"{name}.npz", {"input": inputs, "expected": np.concatenate(expected)})
        print(name, expected[0].shape, np.unique(np.stack(expected)).size, "distinct values", flush=True)


if __name__ == "__main__":
    main()
