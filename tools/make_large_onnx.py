#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Networks of realistic size as ONNX Runtime's own quantizer writes them (QDQ and operator form), with vectors.

    tools/make_large_onnx.py build/large [NAME...]

Float networks of known shapes with seeded weights (normal, scaled to keep the variance) go through
`onnxruntime.quantization.quantize_static`. The reference is that of make_onnx_cases.py. Files are large and are not kept;
`brickwork verify` compares them:

    for f in build/large/*.onnx; do brickwork verify $f --config configs/zynq7020.toml --inputs ${f%.onnx}.npz; done
"""
import logging

import numpy as np
import onnx
import onnxruntime
from make_onnx_cases import integer_form
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from vectors import chosen, save


class Float:
    """A float network in the making; methods return the name of their output tensor."""

    def __init__(self, seed, dims):
        self.rng, self.dims = np.random.default_rng(seed), dims
        self.nodes, self.constants, self.count, self.channels = [], [], 0, {"x": dims[1]}

    def const(self, value):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{self.count}"))
        return f"c{self.count}"

    def op(self, kind, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"t{self.count}"] if outputs == 1 else [f"t{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"{kind}_{self.count}", **attributes))
        for n in names:
            self.channels[n] = self.channels.get(inputs[0], 0)
        return names[0] if outputs == 1 else names

    def act(self, x, kind):
        if kind == "relu":
            return self.op("Relu", x)
        if kind == "relu6":
            return self.op("Clip", x, self.const(np.float32(0)), self.const(np.float32(6)))
        if kind == "leaky":
            return self.op("LeakyRelu", x, alpha=0.1)
        if kind == "silu":
            return self.op("Mul", x, self.op("Sigmoid", x))
        if kind == "hswish":
            return self.op("HardSwish", x)
        return x

    def conv(self, x, oc, k=3, s=1, act="relu", groups=1, d=1, pads=None, axes=2):
        ic = self.channels[x]
        k = [k] * axes if isinstance(k, int) else list(k)
        fan = ic // groups * int(np.prod(k))
        w = self.rng.normal(0, np.sqrt(2 / fan), [oc, ic // groups, *k]) * np.exp(self.rng.uniform(-0.5, 0.5, [oc] + [1] * (axes + 1)))
        b = self.rng.normal(0, 0.2, oc)
        pads = pads if pads is not None else [(n - 1) * d // 2 for n in k] * 2
        y = self.op("Conv", x, self.const(w.astype(np.float32)), self.const(b.astype(np.float32)), kernel_shape=k, strides=[s] * axes,
                    pads=pads, group=groups, dilations=[d] * axes)
        self.channels[y] = oc
        return self.act(y, act)

    def depthwise(self, x, k=3, s=1, act="relu6", **more):
        return self.conv(x, self.channels[x], k, s, act, self.channels[x], **more)

    def concat(self, *parts, axis=1):
        y = self.op("Concat", *parts, axis=axis)
        self.channels[y] = sum(self.channels[p] for p in parts) if axis == 1 else self.channels[parts[0]]
        return y

    def dense(self, x, ic, oc):
        w = self.rng.normal(0, np.sqrt(1 / ic), [oc, ic]).astype(np.float32)
        return self.op("Gemm", x, self.const(w), self.const(self.rng.normal(0, 0.1, oc).astype(np.float32)), transB=1)

    def classify(self, x, classes):
        x = self.op("Flatten", self.op("GlobalAveragePool", x))
        return self.op("Softmax", self.dense(x, self.channels[x], classes), axis=1)

    def up(self, x, by=2):
        sizes = np.array([1, 1, by, by], np.float32)
        return self.op("Resize", x, "", self.const(sizes), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def model(self, *outputs):
        value = lambda n, d: helper.make_tensor_value_info(n, TensorProto.FLOAT, d)
        graph = helper.make_graph(self.nodes, "large", [value("x", self.dims)], [value(o, None) for o in outputs], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def mobilenet_v1(size=128, alpha=0.5):
    n = Float(1, [1, 3, size, size])
    x = n.conv("x", int(32 * alpha), 3, 2, "relu6")
    for oc, s in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]:
        x = n.conv(n.depthwise(x, 3, s), int(oc * alpha), 1, 1, "relu6")
    return n.model(n.classify(x, 100))


def mobilenet_v2(size=96):
    n = Float(2, [1, 3, size, size])
    x = n.conv("x", 32, 3, 2, "relu6")
    for t, c, count, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(count):
            y = x if t == 1 else n.conv(x, n.channels[x] * t, 1, 1, "relu6")
            y = n.conv(n.depthwise(y, 3, s if i == 0 else 1), c, 1, 1, "")
            x = n.op("Add", x, y) if i else y
    return n.model(n.classify(n.conv(x, 1280, 1, 1, "relu6"), 1000))


def resnet18(size=96):
    n = Float(3, [1, 3, size, size])
    x = n.conv("x", 64, 7, 2)
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for c in [64, 128, 256, 512]:
        for i in range(2):
            s = 2 if i == 0 and c > 64 else 1
            y = n.conv(n.conv(x, c, 3, s), c, 3, 1, "")
            x = n.op("Relu", n.op("Add", y, x if s == 1 else n.conv(x, c, 1, s, "")))
    return n.model(n.classify(x, 1000))


def stream():
    """Keyword spotting on 40 features by 101 steps: 1-D depthwise separable residual blocks with dilation."""
    n = Float(4, [1, 40, 101])
    x = n.conv("x", 64, 5, 1, axes=1, pads=[4, 0])
    for d in [1, 2, 4, 8]:
        y = n.conv(x, 64, 9, 1, "", 64, d, [8 * d, 0], 1)
        y = n.conv(n.conv(y, 64, 1, axes=1), 64, 1, 1, "", axes=1)
        x = n.op("Relu", n.op("Add", x, y))
    x = n.op("AveragePool", x, kernel_shape=[2], strides=[2])
    return n.model(n.op("Softmax", n.dense(n.op("Flatten", n.conv(x, 16, 1, axes=1)), 16 * 50, 12), axis=1))


def yolo(size=416, width=16, act="silu"):
    """Backbone with split blocks, pyramid pooling, upsampling, concatenation, two heads joined over cells."""
    n = Float(5, [1, 3, size, size])

    def block(x, c, shortcut):
        parts = n.op("Split", n.conv(x, c, 1, act=act), axis=1, outputs=2)
        for p in parts:
            n.channels[p] = c // 2
        y = n.conv(n.conv(parts[1], c // 2, 3, act=act), c // 2, 3, act=act)
        y = n.op("Add", parts[1], y) if shortcut else y
        return n.conv(n.concat(*parts, y), c, 1, act=act)

    x = n.conv("x", width, 3, 2, act)
    x = block(n.conv(x, 2 * width, 3, 2, act), 2 * width, True)
    x = p3 = block(n.conv(x, 4 * width, 3, 2, act), 4 * width, True)
    x = p4 = block(n.conv(x, 8 * width, 3, 2, act), 8 * width, True)
    x = n.conv(n.conv(x, 16 * width, 3, 2, act), 8 * width, 1, act=act)
    pools = [x]
    for _ in range(3):
        pools.append(n.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    p5 = n.conv(n.concat(*pools), 16 * width, 1, act=act)
    p4 = block(n.concat(n.up(p5), p4), 8 * width, False)
    p3 = block(n.concat(n.up(p4), p3), 4 * width, False)
    heads = []
    for p, cells in [(p3, (size // 8) ** 2), (p4, (size // 16) ** 2)]:
        y = n.conv(n.conv(p, 4 * width, 3, act=act), 24, 1, act="")
        heads.append(n.op("Reshape", y, n.const(np.array([1, 24, cells], np.int64))))
    y = n.op("Concat", *heads, axis=2)
    boxes, scores = n.op("Split", y, n.const(np.array([16, 8], np.int64)), axis=1, outputs=2)
    return n.model(boxes, n.op("Sigmoid", scores))


def tiny_yolo(size=224):
    """VGG-like, up to 1024 channels, leaky ReLU, a last 2x2 pool of stride 1."""
    n = Float(6, [1, 3, size, size])
    x = "x"
    for i, c in enumerate([16, 32, 64, 128, 256, 512]):
        x = n.conv(x, c, 3, act="leaky")
        pool = dict(strides=[2, 2]) if i < 5 else dict(strides=[1, 1], pads=[0, 0, 1, 1])
        x = n.op("MaxPool", x, kernel_shape=[2, 2], **pool)
    x = n.conv(n.conv(x, 1024, 3, act="leaky"), 1024, 3, act="leaky")
    return n.model(n.op("Transpose", n.conv(x, 125, 1, act=""), perm=[0, 2, 3, 1]))


def dilated(size=320):
    """A detector with dilated branches, addition, concatenation and four heads, as face detectors have."""
    n = Float(7, [1, 3, size, size])
    x = n.conv("x", 16, 3, 2)
    for c, s in [(32, 1), (32, 2), (32, 1), (64, 2)]:
        x = n.conv(n.depthwise(x, 3, s, "relu"), c, 1)
    branches = [n.conv(n.conv(x, 16, 1), 16, 3, 1, "", d=d, pads=[d] * 4) for d in [1, 2, 3, 5]]
    x = n.op("Relu", n.op("Add", n.conv(n.concat(*branches), 64, 1, act=""), n.conv(x, 64, 1, act="")))
    scores, boxes = [], []
    for c, priors in [(64, 3), (128, 2), (256, 2)]:
        for (list_, per) in [(scores, 2), (boxes, 4)]:
            y = n.conv(n.depthwise(x, 3, 1, "relu"), priors * per, 1, act="")
            y = n.op("Transpose", y, perm=[0, 2, 3, 1])
            list_.append(n.op("Reshape", y, n.const(np.array([1, -1, per], np.int64))))
        x = n.conv(n.depthwise(x, 3, 2, "relu"), c, 1)
    return n.model(n.op("Softmax", n.op("Concat", *scores, axis=1), axis=2), n.op("Concat", *boxes, axis=1))


def segmenter(size=128):
    """Encoder and decoder with skip connections; averages with padding; one class per pixel."""
    n = Float(8, [1, 3, size, size])
    a = n.conv("x", 16)
    b = n.conv(n.op("AveragePool", a, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=0), 32)
    c = n.conv(n.op("AveragePool", b, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1), 64)
    x = n.conv(n.concat(n.up(c), b), 32)
    x = n.conv(n.concat(n.up(x), a), 16)
    return n.model(n.conv(x, 5, 1, act=""))


def excited(size=64):
    """Squeeze and excitation: channels are scaled by an activation."""
    n = Float(9, [1, 3, size, size])
    x = n.conv("x", 16, 3, 2, "hswish")
    for c, s in [(24, 2), (40, 2), (40, 1)]:
        y = n.depthwise(n.conv(x, 4 * n.channels[x], 1, act="hswish"), 5, s, "hswish")
        g = n.conv(n.conv(n.op("GlobalAveragePool", y), 16, 1), n.channels[y], 1, act="")
        x = n.conv(n.op("Mul", y, n.op("HardSigmoid", g, alpha=1 / 6, beta=0.5)), c, 1, act="")
    return n.model(n.classify(x, 10))


CASES = {
    "mobilenet_v1_uint8_ops": (mobilenet_v1, dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8)),
    "mobilenet_v1_qdq": (mobilenet_v1, dict(per_channel=True)),
    "mobilenet_v2_qdq": (mobilenet_v2, dict(per_channel=True)),
    "mobilenet_v2_ops": (mobilenet_v2, dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8)),
    "resnet18_qdq": (resnet18, dict(activation_type=QuantType.QUInt8)),
    "resnet18_ops": (resnet18, dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, per_channel=True)),
    "stream_qdq": (stream, dict(per_channel=True)),
    "stream_ops": (stream, dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8)),
    "yolo_qdq": (yolo, dict(activation_type=QuantType.QUInt8, per_channel=True)),
    "tiny_yolo_qdq": (tiny_yolo, dict(per_channel=True)),
    "tiny_yolo_ops": (tiny_yolo, dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8)),
    "dilated_qdq": (dilated, dict(per_channel=True)),
    "dilated_ops": (dilated, dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8)),
    "segmenter_qdq": (segmenter, dict(per_channel=True)),
    "excited_qdq": (excited, dict(per_channel=True)),
}


def pictures(rng, dims, count):
    """Smooth waves with noise, about -1 to 1."""
    at = np.indices(dims[1:]).astype(np.float32)
    for i in range(count):
        wave = sum(np.sin(a * rng.uniform(0.02, 0.5) + rng.uniform(0, 6)) for a in at) / len(dims[1:])
        yield (wave + rng.normal(0, 0.1 + 0.3 * (i % 2), dims[1:])).astype(np.float32)[None]


class Reader(CalibrationDataReader):
    def __init__(self, dims):
        self.all = pictures(np.random.default_rng(5), dims, 4)

    def get_next(self):
        x = next(self.all, None)
        return None if x is None else {"x": x}


def main():
    logging.disable(logging.WARNING)
    for directory, name, (make, how) in chosen(__doc__, CASES):
        model, plain, path = make(), directory / "float.tmp", directory / f"{name}.onnx"
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        onnx.save(model, plain)
        quant_pre_process(str(plain), str(plain))
        how = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8, **how}
        quantize_static(str(plain), str(path), Reader(dims), **how)
        plain.unlink()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = onnx.load(path)
        reference = model if how["quant_format"] == QuantFormat.QOperator else integer_form(model)
        session = onnxruntime.InferenceSession(reference.SerializeToString(), options, providers=["CPUExecutionProvider"])
        inputs = np.concatenate(list(pictures(np.random.default_rng(6), dims, 2)))
        runs = [session.run(None, {"x": i[None]}) for i in inputs]
        arrays = {"input": inputs}
        for i, out in enumerate(session.get_outputs()):
            arrays["expected" if len(runs[0]) == 1 else out.name] = np.concatenate([r[i] for r in runs])
        save(directory / f"{name}.npz", arrays)
        print(name, [(k, a.shape, np.unique(a).size) for k, a in arrays.items() if k != "input"], flush=True)


if __name__ == "__main__":
    main()
