# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The machine: identity, loading, running, errors, reset."""

import collections
import time

import numpy as np

from . import regs
from .errors import (
    BadInput,
    BadVersion,
    Busy,
    MachineError,
    Misaligned,
    NeedsReset,
    NoDevice,
    NotLoaded,
    Timeout,
    WrongConfiguration,
)
from .program import Program

# Buffers begin at multiples of this: two cache lines of a Cortex-A9, one of others.
ALIGN = 64
# Polls without a pause; a run that takes longer is waited for with pauses of so many seconds.
_QUICK_POLLS = 200
_PAUSE = 0.0002

Counters = collections.namedtuple(
    "Counters", "cycles pass_busy pass_wait_token pass_wait_wgt load_busy post_busy wgt_busy"
)


class Device:
    """The accelerator.

    read(offset), write(offset, value): a register. allocate(bytes): a physically contiguous buffer, a uint8 array with
    ``device_address``, ``flush()`` (the processor's data to memory) and ``invalidate()`` (read from memory again), as
    ``pynq.allocate`` gives.
    """

    def __init__(self, read, write, allocate):
        self._read, self._write, self._allocate = read, write, allocate
        self.program = None
        self._buffers = {}
        found = read(regs.REG_ID)
        if found != regs.ID_VALUE:
            raise NoDevice(f"no Brickwork accelerator here: ID reads 0x{found:08x}")
        version = read(regs.REG_VERSION)
        if version >> 8 != regs.VERSION_VALUE >> 8:
            raise BadVersion(f"the accelerator has version 0x{version:06x}, this driver 0x{regs.VERSION_VALUE:06x}")
        self.hash = read(regs.REG_HASH_HI) << 32 | read(regs.REG_HASH_LO)
        self.reset()

    def load(self, program):
        """Puts a program (a Program or the path of a file) into memory and tells the machine where it is."""
        if not isinstance(program, Program):
            program = Program.read(program)
        self._check_idle()
        if program.hash != self.hash:
            raise WrongConfiguration(f"{program.name} was made for configuration {program.hash:016x}, this is {self.hash:016x}")
        self.free()
        try:
            self._place(program)
        except BaseException:
            self.free()
            raise
        self.program = program
        return program

    def _place(self, program):
        contents = {
            regs.REG_PROGRAM: program.instructions,
            regs.REG_BASE0: program.constants,
            regs.REG_BASE1: bytes(program.input_bytes),
            regs.REG_BASE2: bytes(program.output_bytes),
            regs.REG_BASE3: bytes(program.scratch_bytes),
        }
        for register, content in contents.items():
            buffer = self._allocate(max(len(content), ALIGN))
            self._buffers[register] = buffer
            address = buffer.device_address
            if address % ALIGN or address + len(content) > 1 << 32:
                raise Misaligned(f"a buffer at 0x{address:x} does not begin at a multiple of {ALIGN} or ends beyond 4 GiB")
            buffer[: len(content)] = np.frombuffer(content, dtype=np.uint8)
            buffer.flush()
            self._write(register, address)

    def run(self, *arrays, timeout=10.0):
        """Runs the program on one array per input; gives its output, or a tuple of them.

        Integers are codes and give codes (int32). Floats are quantized and give floats, where the file says how (TFLite
        models). Arrays may have any shape with the right number of values; outputs have theirs.
        """
        self.start(*arrays)
        self.wait(timeout)
        real = any(np.issubdtype(np.asarray(a).dtype, np.floating) for a in arrays)
        results = tuple(self.outputs(real))
        return results[0] if len(results) == 1 else results

    def start(self, *arrays):
        """Packs the inputs and starts a run."""
        if self.program is None:
            raise NotLoaded("no program is loaded")
        if len(arrays) != len(self.program.inputs):
            raise BadInput(f"the program has {len(self.program.inputs)} inputs, not {len(arrays)}")
        self._check_idle()
        buffer = self._buffers[regs.REG_BASE1]
        for tensor, array in zip(self.program.inputs, arrays):
            tensor.pack(array, buffer)
        buffer.flush()
        # No line of the output may be written back on top of the results.
        self._buffers[regs.REG_BASE2].invalidate()
        self._write(regs.REG_IRQ_STATUS, regs.IRQ_STATUS_DONE | regs.IRQ_STATUS_ERROR)
        self._write(regs.REG_CTRL, regs.CTRL_START)

    def poll(self):
        """Whether the run has ended; raises MachineError if with an error."""
        status = self._read(regs.REG_STATUS)
        if status & regs.STATUS_ERROR:
            raise self.error() or MachineError(0, 0)
        if status & regs.STATUS_BUSY or not status & regs.STATUS_DONE:
            return False
        if self.program is not None:
            self._buffers[regs.REG_BASE2].invalidate()
        return True

    def wait(self, timeout=10.0):
        """Waits for the end of the run, at most so many seconds."""
        end = time.monotonic() + timeout
        polls = 0
        while not self.poll():
            if time.monotonic() >= end:
                raise Timeout(f"not done in {timeout} s")
            polls += 1
            if polls > _QUICK_POLLS:
                time.sleep(_PAUSE)

    def outputs(self, real=False):
        """The outputs of the last run: codes, or real numbers where the file says how."""
        if self.program is None:
            raise NotLoaded("no program is loaded")
        for tensor in self.program.outputs:
            codes = tensor.unpack(self._buffers[regs.REG_BASE2])
            reals = tensor.reals(codes) if real else None
            yield codes if reals is None else reals

    def error(self):
        """The error of the last run as a MachineError, or None."""
        code, instruction = self._read(regs.REG_ERROR_CODE), self._read(regs.REG_ERROR_INSTR)
        return MachineError(code, instruction) if code != regs.ERROR_NONE else None

    def counters(self):
        """Counters of the present or last run."""
        while True:  # the low word may pass to the high one between two reads
            high, low = self._read(regs.REG_CYCLES_HI), self._read(regs.REG_CYCLES_LO)
            if high == self._read(regs.REG_CYCLES_HI):
                break
        names = ("PASS_BUSY", "PASS_WAIT_TOKEN", "PASS_WAIT_WGT", "LOAD_BUSY", "POST_BUSY", "WGT_BUSY")
        return Counters(high << 32 | low, *(self._read(getattr(regs, "REG_" + name)) for name in names))

    def set_watchdog(self, cycles):
        """Cycles without progress after which the machine stops itself with an error; 0: never."""
        self._write(regs.REG_WATCHDOG, cycles)

    def reset(self, timeout=1.0):
        """Breaks off what runs and waits until no transfer is under way. The program stays loaded."""
        end = time.monotonic() + timeout
        self._write(regs.REG_CTRL, regs.CTRL_RESET)
        while self._read(regs.REG_STATUS) & (regs.STATUS_BUSY | regs.STATUS_ERROR):
            if time.monotonic() >= end:
                raise Timeout(f"the machine did not come to rest in {timeout} s")
        self._write(regs.REG_IRQ_STATUS, regs.IRQ_STATUS_DONE | regs.IRQ_STATUS_ERROR)
        self._write(regs.REG_IRQ_ENABLE, 0)

    def free(self):
        """Gives the buffers back; the program must be loaded again."""
        self.program = None
        for buffer in self._buffers.values():
            if hasattr(buffer, "freebuffer"):
                buffer.freebuffer()
        self._buffers = {}

    def _check_idle(self):
        status = self._read(regs.REG_STATUS)
        if status & regs.STATUS_ERROR:
            raise NeedsReset("an error stopped the machine; call reset()")
        if status & regs.STATUS_BUSY:
            raise Busy("a run is under way")
