#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Vectors of a TFLite network from TFLite's own reference kernels.

    python3 -m venv venv && venv/bin/pip install 'numpy<2' tflite-runtime==2.14.0
    venv/bin/python tools/make_tflite_vectors.py models/X.tflite models/X.vectors.npz

`input` and `expected` hold three inputs of seeded codes (noise, smooth waves, few large values) and their results;
for input 0 every operator's first output is there as opNN_<OPERATOR>_t<tensor>. Where a model has several inputs (or
outputs), their arrays have the tensors' names.
"""
import sys

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

SEED = 2014


def codes(rng, detail, kind):
    """Codes of an input: 0 noise, 1 smooth waves, 2 mostly one value."""
    shape, dtype = detail["shape"], detail["dtype"]
    if dtype == np.float32:
        return (rng.standard_normal(shape) * (0.5 + kind)).astype(np.float32)
    info = np.iinfo(dtype)
    if kind == 0:
        return rng.integers(info.min, info.max + 1, shape).astype(dtype)
    if kind == 1:
        at = np.indices(shape).astype(float)
        wave = sum(np.sin(a * rng.uniform(0.05, 0.6) + rng.uniform(0, 6)) for a in at) / len(shape)
        return np.clip((wave + 1) / 2 * (info.max - info.min) + info.min, info.min, info.max).astype(dtype)
    zero = detail["quantization"][1]
    spread = rng.integers(info.min, info.max + 1, shape)
    return np.where(rng.random(shape) < 0.1, spread, zero).astype(dtype)


def overwritten(interpreter, tensor, reader):
    """Additions may store their sum in the memory of an operand."""
    if reader["op_name"] not in ("ADD", "SUB", "MUL") or tensor not in reader["inputs"]:
        return False
    operand, result = interpreter.get_tensor(tensor), interpreter.get_tensor(reader["outputs"][0])
    return operand.shape == result.shape and (operand == result).all()


def vectors(path):
    interpreter = Interpreter(
        model_path=path,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    rng = np.random.default_rng(SEED)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    arrays = {}
    for kind in range(3):
        for detail in inputs:
            value = codes(rng, detail, kind)
            interpreter.set_tensor(detail["index"], value)
            arrays.setdefault(detail["name"] if len(inputs) > 1 else "input", []).append(value[0])
        interpreter.invoke()
        for detail in outputs:
            key = detail["name"] if len(outputs) > 1 else "expected"
            arrays.setdefault(key, []).append(interpreter.get_tensor(detail["index"])[0])
        if kind > 0:
            continue
        ops = interpreter._get_ops_details()
        for op in ops:
            tensor = int(op["outputs"][0])
            if any(overwritten(interpreter, tensor, reader) for reader in ops):
                continue
            try:
                value = interpreter.get_tensor(tensor)
            except ValueError:
                continue
            arrays[f"op{op['index']:02}_{op['op_name']}_t{tensor}"] = value
    return {k: np.stack(v) if isinstance(v, list) else v for k, v in arrays.items()}


if __name__ == "__main__":
    np.savez(sys.argv[2], **vectors(sys.argv[1]))
