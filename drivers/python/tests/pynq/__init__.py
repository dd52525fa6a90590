# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A stand-in for PYNQ on the Verilated accelerator, as much of it as the driver uses.

The library of `BRICKWORK_MODEL` (sim/harness/model.h) takes the place of the board. Memory is not coherent, as on a Zynq: a
buffer and the accelerator's memory differ until somebody flushes or invalidates.
"""

import ctypes
import os

import numpy as np

_REGISTER_BASE = 0x43C00000
_REGISTER_BYTES = 4096
_ALLOCATE_FROM = 0x10000000


class _Model:
    """The library, loaded once."""

    def __init__(self):
        self.lib = lib = ctypes.CDLL(os.environ["BRICKWORK_MODEL"])
        u32, u64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
        for name, result, arguments in (
            ("new", pointer, [ctypes.c_int]),
            ("read", u32, [pointer, u32]),
            ("write", None, [pointer, u32, u32]),
            ("map", None, [pointer, u64, u64]),
            ("store", None, [pointer, u64, pointer, u64]),
            ("load", None, [pointer, u64, pointer, u64]),
            ("fault", None, [pointer, u64, u64]),
            ("violation", ctypes.c_char_p, [pointer]),
        ):
            function = getattr(lib, "brickwork_model_" + name)
            function.restype, function.argtypes = result, arguments
        self.handle = lib.brickwork_model_new(1)
        self.next_address = _ALLOCATE_FROM
        self.misalign = 0

    def __getattr__(self, name):
        function = getattr(self.lib, "brickwork_model_" + name)
        return lambda *arguments: function(self.handle, *arguments)


model = _Model()


class Buffer(np.ndarray):
    """A physically contiguous buffer."""

    device_address = None
    freed = False

    @property
    def physical_address(self):
        return self.device_address

    def flush(self):
        assert not self.freed
        model.store(self.device_address, self.ctypes.data, self.nbytes)

    def invalidate(self):
        assert not self.freed
        model.load(self.device_address, self.ctypes.data, self.nbytes)

    def freebuffer(self):
        self.freed = True


def allocate(shape, dtype="u4", target=None, **kwargs):
    """Memory with anything in it, at the processor's side and at the accelerator's."""
    buffer = np.random.default_rng(model.next_address).integers(0, 256, size=shape, dtype=dtype).view(Buffer)
    buffer.device_address = model.next_address + model.misalign
    model.map(model.next_address, buffer.nbytes + 4096)
    model.next_address += (buffer.nbytes + 2 * 4096) // 4096 * 4096
    model.store(buffer.device_address, np.full(buffer.nbytes, 0xA5, dtype=np.uint8).ctypes.data, buffer.nbytes)
    return buffer


class _Register(type):
    """Remembers which class drives which IP."""

    drivers = {}

    def __init__(cls, name, bases, attributes):
        super().__init__(name, bases, attributes)
        for vlnv in attributes.get("bindto", ()):
            _Register.drivers[vlnv] = cls


class DefaultIP(metaclass=_Register):
    """Registers of an IP."""

    def __init__(self, description):
        self._base, self._bytes = description["phys_addr"], description["addr_range"]

    def read(self, offset=0):
        assert 0 <= offset < self._bytes and offset % 4 == 0
        return model.read(offset)

    def write(self, offset, value):
        assert 0 <= offset < self._bytes and offset % 4 == 0 and 0 <= value < 1 << 32
        model.write(offset, int(value))


class Overlay:
    """The system of vivado/system.tcl."""

    def __init__(self, bitfile_name):
        self.bitfile_name = bitfile_name
        self.ip_dict = {
            "accelerator": {
                "type": "brickwork:ip:brickwork:1.0",
                "phys_addr": _REGISTER_BASE,
                "addr_range": _REGISTER_BYTES,
            }
        }

    def __getattr__(self, name):
        if name not in self.__dict__.get("ip_dict", {}):
            raise AttributeError(name)
        description = self.ip_dict[name]
        driver = _Register.drivers.get(description["type"], DefaultIP)(description)
        setattr(self, name, driver)
        return driver
