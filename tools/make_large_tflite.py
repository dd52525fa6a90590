#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""TFLite networks of realistic size and shape with seeded weights, and vectors of TFLite's reference kernels.

    venv/bin/python tools/make_large_tflite.py build/large [NAME...]

The environment is that of make_tflite_cases.py. Files are large and are not kept; `brickwork verify` compares them:

    for f in build/large/*.tflite; do brickwork verify $f --config configs/zynq7020.toml --inputs ${f%.tflite}.npz; done
"""

import numpy as np
from make_tflite_cases import NONE, RELU, RELU6, SAME, VALID, Net, schema
from make_tflite_vectors import codes
from tflite_runtime.interpreter import Interpreter, OpResolverType
from vectors import chosen, save


class Deep(Net):
    """Scales that keep the spread of activations through many layers; kernels without a mean, so that none saturates."""

    def __init__(self, rng, dtype=np.int8):
        super().__init__(rng, dtype)
        self.size = {}

    def weights(self, shape, channels, axis, fan_in, x, act, bias=True, per_channel=True):
        inputs, _, zero = super().weights(shape, channels, axis, fan_in, x, act, bias, per_channel)
        w = self.graph.tensors[inputs[1]]
        data = self.buffers[w.buffer].data.view(np.uint8 if self.dtype == np.uint8 else np.int8).reshape(shape)
        values = data.astype(float) - (self.zero(inputs[1]) if self.dtype == np.uint8 else 0)
        others = tuple(i for i in range(len(shape)) if i != axis)
        values -= values.mean(axis=others, keepdims=True)
        values = np.clip(np.round(values + (self.zero(inputs[1]) if self.dtype == np.uint8 else 0)), np.iinfo(data.dtype).min + 1, np.iinfo(data.dtype).max)
        self.buffers[w.buffer].data = values.astype(data.dtype).reshape(-1).view(np.uint8)
        wide = self.dtype == np.int16
        size = self.size.get(x, 45 * (180 if wide else 1))
        sums = np.sqrt(fan_in) * 70 * size
        if bias:
            b = self.buffers[self.graph.tensors[inputs[2]].buffer]
            b.data = np.frombuffer((self.rng.normal(0, sums / 3, channels)).astype(np.int64 if wide else np.int32).tobytes(), np.uint8)
        goal = sums * self.scale(x) * float(np.mean(w.quantization.scale)) / (50 * (180 if wide else 1))
        # outputs on a scale of about 0.05
        factor = np.float32(0.05 / goal * np.exp(self.rng.uniform(-0.5, 0.5)))
        for t in inputs[1:]:
            self.graph.tensors[t].quantization.scale *= factor
        goal *= factor
        self.size[len(self.graph.tensors)] = (35 if act in (RELU, RELU6) else 50) * (180 if wide else 1)
        return inputs, np.float32(goal), zero


def classify(net, x, classes):
    x = net.dense(net.mean(x, [1, 2], False), classes)
    # distances between classes as trained networks have them
    for t in [x] + net.graph.operators[-1].inputs[1:]:
        net.graph.tensors[t].quantization.scale *= np.float32(5)
    return [x, net.softmax(x)]


def mobilenet_v1(size, alpha, dtype=np.int8, channels=3):
    net = Deep(np.random.default_rng(11), dtype)
    x = net.conv(net.input([1, size, size, channels]), int(32 * alpha), (3, 3), (2, 2), act=RELU6)
    for oc, s in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]:
        x = net.conv(net.depthwise(x, 1, (3, 3), (s, s), act=RELU6), int(oc * alpha), (1, 1), act=RELU6)
    k = net.shape(x)[1]
    x = net.pool("AVERAGE_POOL_2D", x, (k, k), (2, 2))
    x = net.reshape(net.conv(x, 100, (1, 1)), [1, 100])
    return [x, net.softmax(x)], net


def mobilenet_v2(size, alpha):
    net = Deep(np.random.default_rng(12))
    even = lambda c: max(8, int(c * alpha + 4) // 8 * 8)
    x = net.conv(net.input([1, size, size, 3]), even(32), (3, 3), (2, 2), act=RELU6)
    for t, c, count, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(count):
            y = x if t == 1 else net.conv(x, net.shape(x)[3] * t, (1, 1), act=RELU6)
            if i == 0 and s == 2:
                y = net.pad(y, [[0, 0], [0, 1], [0, 1], [0, 0]])
                y = net.depthwise(y, 1, (3, 3), (2, 2), padding=VALID, act=RELU6)
            else:
                y = net.depthwise(y, 1, (3, 3), act=RELU6)
            y = net.conv(y, even(c), (1, 1))
            x = net.arithmetic("ADD", x, y) if i else y
    return classify(net, net.conv(x, 1280, (1, 1), act=RELU6), 1000), net


def resnet(depth=20, width=32):
    net = Deep(np.random.default_rng(13))
    x = net.conv(net.input([1, 32, 32, 3]), width, (3, 3), act=RELU)
    for stage in range(3):
        for i in range((depth - 2) // 6):
            s, c = (2 if stage and i == 0 else 1), width << stage
            y = net.conv(net.conv(x, c, (3, 3), (s, s), act=RELU), c, (3, 3))
            x = net.arithmetic("ADD", y, x if net.shape(x)[3] == c and s == 1 else net.conv(x, c, (1, 1), (s, s)), RELU)
    return classify(net, x, 10), net


def stream():
    """TC-ResNet-like: 40 features as channels along 98 steps."""
    net = Deep(np.random.default_rng(14))
    x = net.reshape(net.input([1, 98, 40]), [1, 98, 1, 40])
    x = net.conv(x, 24, (3, 1), act=RELU)
    for c in [36, 36, 48, 72]:
        y = net.conv(net.depthwise(x, 1, (9, 1), (2, 1), act=RELU), c, (1, 1), act=RELU)
        y = net.conv(net.depthwise(y, 1, (9, 1), act=RELU), c, (1, 1))
        x = net.arithmetic("ADD", y, net.conv(x, c, (1, 1), (2, 1), act=RELU), RELU)
    x = net.pool("AVERAGE_POOL_2D", x, (net.shape(x)[1], 1), (1, 1))
    x = net.dense(net.reshape(x, [1, 72]), 12)
    return [x, net.softmax(x)], net


def causal():
    """Temporal convolutions, padded at the front, dilated, written as CONV_2D on [1, 1, steps, channels] with expansions."""
    net = Deep(np.random.default_rng(15))
    x = net.input([1, 512, 4])
    for i, c in enumerate([16, 16, 32, 32]):
        d = 1 << i
        y = net.reshape(x, [1, 1, 512, net.shape(x)[2]])
        y = net.pad(y, [[0, 0], [0, 0], [2 * d, 0], [0, 0]])
        y = net.conv(y, c, (1, 3), d=(1, d), padding=VALID, act=RELU)
        x = net.reshape(y, [1, 512, c])
    y = net.reshape(net.mean(net.reshape(x, [1, 1, 512, 32]), [1, 2], True), [1, 32])
    return [net.dense(y, 6)], net


def detector(size=320):
    """SSD: six maps' boxes and scores joined over anchors, with dilation, upsampling and addition."""
    net = Deep(np.random.default_rng(16))
    x = net.conv(net.input([1, size, size, 3]), 16, (3, 3), (2, 2), act=RELU6)
    for c, s in [(24, 2), (24, 1), (48, 2), (48, 1)]:
        x = net.conv(net.depthwise(x, 1, (3, 3), (s, s), act=RELU6), c, (1, 1), act=RELU6)
    p3 = x
    x = net.conv(net.depthwise(x, 1, (3, 3), (2, 2), act=RELU6), 96, (1, 1), act=RELU6)
    x = p4 = net.conv(x, 96, (3, 3), d=(2, 2), act=RELU6)
    p5 = net.conv(net.depthwise(x, 1, (3, 3), (2, 2), act=RELU6), 192, (1, 1), act=RELU6)
    up = net.upsample(net.conv(p4, 48, (1, 1)), 2, True)
    p3 = net.arithmetic("ADD", p3, up, RELU)
    boxes, scores = [], []
    for p in [p3, p4, p5]:
        _, h, w, _ = net.shape(p)
        for parts, per in [(boxes, 4), (scores, 3)]:
            y = net.conv(net.depthwise(p, 1, (3, 3), act=RELU6), 3 * per, (1, 1))
            parts.append(net.reshape(y, [1, h * w * 3, per]))
    joined = []
    for parts, kind in [(boxes, None), (scores, "LOGISTIC")]:
        parts = [net.requantize(p) for p in parts]
        for p in parts[1:]:
            net.graph.tensors[p].quantization = net.graph.tensors[parts[0]].quantization
        y = net.concat(parts, axis=1)
        joined.append(y if kind is None else net.unary(kind, y, 1 / 256, -128))
    return joined, net


def yolo(size=416):
    """Tiny YOLO v3: leaky ReLU, pools, an upsampled route, two heads; 416 columns."""
    net = Deep(np.random.default_rng(17))

    def leaky(x):
        options = schema.LeakyReluOptionsT()
        options.alpha = 0.1
        return net.unary("LEAKY_RELU", x, options=options)

    x, route = net.input([1, size, size, 3]), None
    for i, c in enumerate([8, 16, 32, 64, 128, 256]):
        x = leaky(net.conv(x, c, (3, 3)))
        route = x if i == 4 else route
        x = net.pool("MAX_POOL_2D", x, (2, 2), (2, 2) if i < 5 else (1, 1), SAME)
    x = leaky(net.conv(leaky(net.conv(x, 512, (3, 3))), 128, (1, 1)))
    head = net.conv(leaky(net.conv(x, 256, (3, 3))), 21, (1, 1))
    up = net.upsample(leaky(net.conv(x, 64, (1, 1))), 2, False)
    route = net.requantize(route)
    net.graph.tensors[route].quantization = net.graph.tensors[up].quantization
    y = net.concat([up, route])
    return [head, net.conv(leaky(net.conv(y, 128, (3, 3))), 21, (1, 1))], net


def wide(kind=np.int16):
    """Residual network with 16-bit activations: ADD, MEAN, RELU, SOFTMAX, LOGISTIC of 16 bits."""
    net = Deep(np.random.default_rng(18), kind)
    x = net.conv(net.input([1, 24, 24, 3]), 16, (3, 3), act=RELU)
    y = net.conv(net.depthwise(x, 1, (3, 3), act=RELU), 16, (1, 1))
    x = net.arithmetic("ADD", x, y)
    x = net.conv(net.pool("AVERAGE_POOL_2D", x, (2, 2), (2, 2)), 32, (3, 3), act=RELU)
    x = net.dense(net.mean(x, [1, 2], False), 10)
    y = net.tensor(net.shape(x), scale=1 / 32768, zero=0)
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return [net.op("SOFTMAX", [x], [y], options)], net


def segmenter(size=128):
    """Averages with SAME padding at the borders, upsampling, concatenation; a class per pixel."""
    net = Deep(np.random.default_rng(19))
    x = net.conv(net.input([1, size, size, 3]), 16, (3, 3), act=RELU)
    y = net.conv(net.pool("AVERAGE_POOL_2D", x, (3, 3), (2, 2), SAME), 32, (3, 3), act=RELU)
    y = net.conv(net.pool("AVERAGE_POOL_2D", y, (3, 3), (1, 1), SAME), 16, (3, 3), act=RELU)
    y = net.upsample(y, 2, True)
    for t in (x, y):
        net.graph.tensors[t].quantization = net.graph.tensors[x].quantization
    return [net.conv(net.concat([x, y]), 5, (1, 1))], net


CASES = {
    "mobilenet_v1_025_96_uint8": lambda: mobilenet_v1(96, 0.25, np.uint8, 1),
    "mobilenet_v1_05_160": lambda: mobilenet_v1(160, 0.5),
    "mobilenet_v1_1_224": lambda: mobilenet_v1(224, 1.0),
    "mobilenet_v2_035_96": lambda: mobilenet_v2(96, 0.35),
    "mobilenet_v2_1_224": lambda: mobilenet_v2(224, 1.0),
    "resnet20_wide": lambda: resnet(20, 32),
    "resnet56": lambda: resnet(56, 16),
    "stream": stream,
    "causal": causal,
    "detector_320": detector,
    "yolo_416": yolo,
    "wide_16": wide,
    "segmenter_128": segmenter,
}


def main():
    for directory, name, make in chosen(__doc__, CASES):
        outputs, net = make()
        path = directory / f"{name}.tflite"
        path.write_bytes(net.write(outputs))
        interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
        rng = np.random.default_rng(20)
        arrays, details = {}, interpreter.get_output_details()
        for kind in (0, 1):
            detail = interpreter.get_input_details()[0]
            value = codes(rng, detail, kind)
            interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            arrays.setdefault("input", []).append(value[0])
            for d in details:
                arrays.setdefault("expected" if len(details) == 1 else d["name"], []).append(interpreter.get_tensor(d["index"])[0])
        arrays = {k: np.stack(v) for k, v in arrays.items()}
        save(directory / f"{name}.npz", arrays)
        print(name, [(k, a.shape, np.unique(a).size) for k, a in arrays.items() if k != "input"], flush=True)


if __name__ == "__main__":
    main()
