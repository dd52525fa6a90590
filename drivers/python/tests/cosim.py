# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The Python driver on the Verilated accelerator, through the stand-in for PYNQ in this folder.

cosim.py PROGRAM.bwp CASES.bin, as drivers/c/tests/cosim.c; the library is named by BRICKWORK_MODEL. tests/drivers.rs runs it.
"""

import struct
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent)]

import numpy as np  # noqa: E402
import pynq  # noqa: E402

import brickwork  # noqa: E402
from brickwork import regs  # noqa: E402
from brickwork.program import _fnv  # noqa: E402


def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as e:
        return e
    raise AssertionError(f"{call} did not raise {kind.__name__}")


def with_checksum(body):
    return body + struct.pack("<Q", _fnv(body))


def main(path, cases):
    data = np.fromfile(cases, dtype="<i4")
    count, ins, outs = data[:3]
    data = data[3:].reshape(count, ins + outs)
    codes, expected = data[:, :ins], data[:, ins:]
    overlay = pynq.Overlay("brickwork.bit")
    accelerator = overlay.accelerator
    assert isinstance(accelerator, brickwork.Accelerator)
    raises(brickwork.NotLoaded, accelerator.run, codes[0])

    program = accelerator.load(path)
    assert program.hash == accelerator.hash
    cycles = []
    for i in range(len(codes)):
        result = accelerator.run(codes[i])
        assert result.dtype == np.int32
        np.testing.assert_array_equal(result.reshape(-1), expected[i].reshape(-1), err_msg=f"input {i}")
        cycles.append(accelerator.counters().cycles)
    assert len(set(cycles)) == 1 and cycles[0] > 0, cycles
    assert accelerator.counters().pass_busy > 0 and accelerator.error() is None

    # Refused before anything starts.
    low, high = program.inputs[0].range
    raises(brickwork.BadInput, accelerator.run, codes[0].reshape(-1)[:-1])
    raises(brickwork.BadInput, accelerator.run, np.full(codes[0].shape, high + 1))
    raises(brickwork.BadInput, accelerator.run, codes[0].astype(np.float32))
    raises(brickwork.BadInput, accelerator.run, codes[0], codes[0])
    raw = Path(path).read_bytes()
    raises(brickwork.BadFile, brickwork.Program, raw[:-1])
    raises(brickwork.BadFile, brickwork.Program, b"")
    raises(brickwork.BadFileVersion, brickwork.Program, raw[:4] + b"\x63" + raw[5:])
    damaged = bytearray(raw)
    damaged[len(raw) // 2] ^= 1
    raises(brickwork.BadFile, brickwork.Program, damaged)

    # A program for another configuration: refused by the driver, and by the machine if the driver is deceived.
    name = str(program.hash).encode()
    assert raw.count(name) == 1
    other = str(program.hash ^ 1).encode()
    assert len(other) == len(name)
    stranger = brickwork.Program(with_checksum(raw[:-8].replace(name, other)))
    raises(brickwork.WrongConfiguration, accelerator.load, stranger)
    begin = raw.index(program.instructions[:16])
    lying = bytearray(raw[:-8])
    lying[begin] ^= 1
    accelerator.load(brickwork.Program(with_checksum(bytes(lying))))
    e = raises(brickwork.MachineError, accelerator.run, codes[0])
    assert (e.code, e.instruction) == (regs.ERROR_WRONG_CONFIGURATION, 0), e
    raises(brickwork.NeedsReset, accelerator.load, path)
    accelerator.reset()

    # Too slow, and still running: only waiting or a reset goes on.
    accelerator.load(path)
    raises(brickwork.Timeout, accelerator.run, codes[0], timeout=0)
    raises(brickwork.Busy, accelerator.start, codes[0])
    accelerator.wait()
    np.testing.assert_array_equal(next(accelerator.outputs()).reshape(-1), expected[0].reshape(-1))
    raises(brickwork.Timeout, accelerator.run, codes[0], timeout=0)
    accelerator.reset()
    np.testing.assert_array_equal(accelerator.run(codes[1]).reshape(-1), expected[1].reshape(-1))

    # Memory that answers with an error: reading constants, writing results.
    for register, code in ((regs.REG_BASE0, regs.ERROR_BUS_READ), (regs.REG_BASE2, regs.ERROR_BUS_WRITE)):
        pynq.model.fault(accelerator._buffers[register].device_address, 8)
        e = raises(brickwork.MachineError, accelerator.run, codes[0])
        assert e.code == code and e.instruction > 0, e
        assert accelerator.error().code == code
        raises(brickwork.NeedsReset, accelerator.run, codes[0])
        pynq.model.fault(0, 0)
        accelerator.reset()
        np.testing.assert_array_equal(accelerator.run(codes[0]).reshape(-1), expected[0].reshape(-1))

    # A buffer that does not begin at a multiple of 64.
    pynq.model.misalign = 8
    raises(brickwork.Misaligned, accelerator.load, path)
    pynq.model.misalign = 0
    raises(brickwork.NotLoaded, accelerator.run, codes[0])

    # Somebody else's IP.
    raises(brickwork.NoDevice, brickwork.Device, lambda offset: 0, lambda offset, value: None, None)
    violation = pynq.model.violation().decode()
    assert violation == "", violation
    print(f"{len(codes)} inputs, {cycles[0]} cycles each")


if __name__ == "__main__":
    main(*sys.argv[1:])
