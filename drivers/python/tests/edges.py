# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the Python driver makes of inputs and results, without a machine; the arguments of drivers/c/tests/edges.c."""

import sys
from pathlib import Path

# Not this folder: its stand-in for PYNQ needs the machine.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np  # noqa: E402

from brickwork.program import Program  # noqa: E402

path, codes, results, input_region, output_codes = sys.argv[1:]
program = Program.read(path)
values = np.fromfile(codes, dtype="<i4")
region = np.zeros(program.input_bytes, dtype=np.uint8)
for tensor in program.inputs:
    tensor.pack(values[: tensor.count], region)
    # Reals of codes are packed as the codes, if the file says what codes mean.
    if tensor.quant is not None:
        again = tensor.codes(tensor.reals(values[: tensor.count]))
        assert np.array_equal(again.reshape(-1), values[: tensor.count])
        edge = tensor.codes(np.full(tensor.count, 1e30))
        assert edge.min() == edge.max() == tensor.range[1]
    values = values[tensor.count :]
assert len(values) == 0
region.tofile(input_region)
results = np.fromfile(results, dtype=np.uint8)
assert len(results) == program.output_bytes
outputs = [tensor.unpack(results).reshape(-1) for tensor in program.outputs]
np.concatenate(outputs).astype("<i4").tofile(output_codes)
