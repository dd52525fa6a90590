# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Program files (``.bwp``), and how the values of inputs and outputs lie in memory."""

import json
import struct

import numpy as np

from .errors import BadFile, BadFileVersion, BadInput

FORMAT_VERSION = 1
_HEADER = struct.Struct("<4sIQQQ")
_CHECKSUM = struct.Struct("<Q")
_INSTRUCTION_BYTES = 16
_SMALL = 1 << 24


def _fnv(data):
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _need(condition, what):
    if not condition:
        raise BadFile(f"not a usable program file: {what}")


def _sizes(values, count):
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(v) is int and 0 < v < _SMALL for v in values)
    )


class Tensor:
    """An input or output: ``name``, ``shape`` (height, width, channels), ``bits``, ``signed``, ``quant``.

    ``quant``: None, or (scale, zero_point) with real = scale * (code - zero_point).
    """

    def __init__(self, info, limit):
        self.name = info["name"]
        _need(_sizes(info["shape"], 3), f"tensor {self.name!r} has an impossible shape")
        self.shape = tuple(info["shape"])
        self.bits, self.signed = info["ty"]["bits"], info["ty"]["signed"]
        _need(1 <= self.bits <= 32, f"tensor {self.name!r} has {self.bits} bits")
        quant = info.get("quant")
        self.quant = (quant["scale"], quant["zero_point"]) if quant else None
        self._offset = info["offset"]
        self._gather = info.get("gather")
        (self._kind, self._form), = info["form"].items()
        _need(self._kind in ("Planes", "Int32"), f"tensor {self.name!r} has an unknown form")
        _need(self._sound(), f"tensor {self.name!r} has an impossible form")
        end = self._offset + self._bytes()
        _need(0 <= self._offset and end <= limit, f"tensor {self.name!r} lies outside its region")

    @property
    def count(self):
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def range(self):
        """Smallest and largest code."""
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, (1 << self.bits) - 1)

    def _sound(self):
        f, g = self._form, self._gather
        if self._kind == "Int32":
            whole = 0 < f["channels"] <= f["pitch"] < _SMALL and self.count % f["channels"] == 0
            return whole and g is None
        if not _sizes(f["shape"], 3) or not 1 <= f["planes"] <= f["slots"] <= 16 or not 1 <= f["lanes"] <= 32:
            return False
        if g is None:
            return int(np.prod(f["shape"], dtype=np.int64)) == self.count
        taps = len(g["rows"]["offsets"]) * len(g["cols"]["offsets"])
        return min(g["rows"]["turns"], g["cols"]["turns"]) > 0 and taps * self.shape[2] == f["shape"][2]

    def _words(self):
        """Plane-words, rounded up to bank words of four; bytes of a bank word."""
        f = self._form
        h, w, c = f["shape"]
        blocks = -(-c // f["lanes"])
        words = h * w * blocks * f["slots"]
        return -(-words // 4) * 4, -(-4 * f["lanes"] // 64) * 8

    def _bytes(self):
        if self._kind == "Int32":
            return self.count // self._form["channels"] * self._form["pitch"] * 4
        words, bank_bytes = self._words()
        return words // 4 * bank_bytes

    def codes(self, array):
        """The codes of an array: integers are codes, floats are quantized (ties away from zero, as TFLite) if the file says how."""
        array = np.asarray(array)
        if array.size != self.count:
            raise BadInput(f"input {self.name!r} has {self.count} values {self.shape}, not {array.size}")
        low, high = self.range
        if array.dtype == bool:
            array = array.astype(np.int32)
        if np.issubdtype(array.dtype, np.floating):
            if self.quant is None:
                raise BadInput(f"input {self.name!r} takes codes {low}..{high}; the program does not say how reals become codes")
            scale, zero_point = self.quant
            x = np.nan_to_num(array.astype(np.float64) / scale, nan=low - zero_point)
            rounded = np.trunc(x + np.copysign(0.5, x)) + zero_point
            array = np.clip(rounded, low, high)
        elif not np.issubdtype(array.dtype, np.integer):
            raise BadInput(f"input {self.name!r} takes integers, not {array.dtype}")
        elif array.min() < low or array.max() > high:
            raise BadInput(f"input {self.name!r} takes codes {low}..{high}; the array has {array.min()}..{array.max()}")
        return array.astype(np.int32).reshape(self.shape)

    def reals(self, codes):
        """The real numbers of codes; None where the file does not say."""
        if self.quant is None:
            return None
        scale, zero_point = self.quant
        return scale * (codes.astype(np.float64) - zero_point)

    def _gathered(self, codes):
        """The codes in the arrangement in which they are stored."""
        g = self._gather
        if g is None:
            return codes.reshape(self._form["shape"])

        def positions(axis, stored, size):
            i = np.arange(stored)[:, None]
            start = i // axis["turns"] * axis["outer"] + i % axis["turns"] * axis["inner"] + axis["origin"]
            at = start + np.array(axis["offsets"], dtype=np.int64)[None, :]
            return np.where((at >= 0) & (at < size), at, size)

        h, w, c = self.shape
        padded = np.full((h + 1, w + 1, c), g["pad_code"], dtype=np.int32)
        padded[:h, :w] = codes
        sh, sw, sc = self._form["shape"]
        rows = positions(g["rows"], sh, h)[:, None, :, None]
        cols = positions(g["cols"], sw, w)[None, :, None, :]
        return padded[rows, cols].reshape(sh, sw, sc)

    def pack(self, array, region):
        """Writes an input into the bytes of its region."""
        codes = self.codes(array)
        to = region[self._offset : self._offset + self._bytes()]
        if self._kind == "Int32":
            flat = np.zeros((self.count // self._form["channels"], self._form["pitch"]), dtype="<i4")
            flat[:, : self._form["channels"]] = codes.reshape(-1, self._form["channels"])
            to[:] = flat.view(np.uint8).reshape(-1)
            return
        f = self._form
        h, w, c = f["shape"]
        blocks = -(-c // f["lanes"])
        lanes = np.zeros((h * w, blocks * f["lanes"]), dtype=np.int32)
        lanes[:, :c] = self._gathered(codes).reshape(h * w, c)
        lanes = lanes.reshape(h * w, blocks, 1, f["lanes"])
        shifts = np.arange(f["planes"] - 1, -1, -1)[None, None, :, None]
        words, bank_bytes = self._words()
        bits = np.zeros((h * w, blocks, f["slots"], f["lanes"]), dtype=np.uint8)
        bits[:, :, : f["planes"]] = (lanes >> shifts) & 1
        bank = np.zeros((words, f["lanes"]), dtype=np.uint8)
        bank[: h * w * blocks * f["slots"]] = bits.reshape(-1, f["lanes"])
        stored = np.zeros((words // 4, bank_bytes * 8), dtype=np.uint8)
        stored[:, : 4 * f["lanes"]] = bank.reshape(words // 4, 4 * f["lanes"])
        to[:] = np.packbits(stored, axis=1, bitorder="little").reshape(-1)

    def unpack(self, region):
        """The codes of an output from the bytes of its region, in the tensor's shape."""
        data = np.array(region[self._offset : self._offset + self._bytes()], dtype=np.uint8)
        if self._kind == "Int32":
            values = data.view("<i4").reshape(-1, self._form["pitch"])
            return values[:, : self._form["channels"]].astype(np.int32).reshape(self.shape)
        f = self._form
        h, w, c = f["shape"]
        blocks = -(-c // f["lanes"])
        words, bank_bytes = self._words()
        bits = np.unpackbits(data.reshape(words // 4, bank_bytes), axis=1, bitorder="little")
        bank = bits[:, : 4 * f["lanes"]].reshape(words, f["lanes"])[: h * w * blocks * f["slots"]]
        planes = bank.reshape(h * w, blocks, f["slots"], f["lanes"])[:, :, : f["planes"]].astype(np.int32)
        weights = 1 << np.arange(f["planes"] - 1, -1, -1, dtype=np.int32)
        if self.signed:
            weights[0] = -weights[0]
        codes = np.tensordot(planes, weights, axes=([2], [0]))
        return codes.reshape(h * w, blocks * f["lanes"])[:, :c].astype(np.int32).reshape(self.shape)


class Program:
    """A program file: ``name``, ``hash``, ``inputs``, ``outputs`` (lists of Tensor)."""

    def __init__(self, data):
        data = bytes(data)
        _need(len(data) >= _HEADER.size + _CHECKSUM.size and data[:4] == b"BWP\0", "it does not begin as one")
        _, version, info, constants, instructions = _HEADER.unpack_from(data)
        if version != FORMAT_VERSION:
            raise BadFileVersion(f"program file of format {version}; compile again")
        body = data[: -_CHECKSUM.size]
        _need(_fnv(body) == _CHECKSUM.unpack_from(data, len(body))[0], "the checksum is wrong")
        at = _HEADER.size
        whole = at + info + constants + instructions * _INSTRUCTION_BYTES
        _need(whole == len(body), "the lengths of its parts are wrong")
        self.constants = body[at + info : at + info + constants]
        self.instructions = body[at + info + constants :]
        try:
            self._describe(json.loads(body[at : at + info]))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise BadFile(f"not a usable program file: {type(e).__name__} {e}") from e

    def _describe(self, info):
        self.name, self.hash = info["name"], info["arch_hash"]
        self.input_bytes, self.output_bytes = info["input_bytes"], info["output_bytes"]
        self.scratch_bytes = info["scratch_bytes"]
        self.inputs = [Tensor(t, self.input_bytes) for t in info["inputs"]]
        self.outputs = [Tensor(t, self.output_bytes) for t in info["outputs"]]

    @classmethod
    def read(cls, path):
        """Reads a file."""
        with open(path, "rb") as f:
            return cls(f.read())
