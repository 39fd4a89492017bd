"""Event files that TensorBoard reads, written without TensorFlow, so that every backend has them.

A file is a sequence of records: the length (uint64, little-endian), its masked CRC-32C, the bytes, and their
masked CRC-32C. The bytes are a protocol buffer `Event` of a few fields: 1 wall_time (double), 2 step (int64),
3 file_version (string), 5 summary {1 value {1 tag, 2 simple_value (float)}}, 7 session_log {1 status}.
Source of the format: tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/event.proto.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_SESSION_START = 1
_CASTAGNOLI = 0x82F63B78


class EventFile:
    """A new event file; what earlier files say from `step` on is passed over by TensorBoard.

    Args:
      folder: where it is made.
      step: from which on it tells.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        self._append(_field(3, b"brain.Event:2"))
        if step:
            self._append(_number(2, step) + _field(7, _number(1, _SESSION_START)))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Appends numbers by name; those that are not finite are left out."""
        entries = [
            _field(1, _field(1, tag.encode()) + _key(2, _FLOAT) + struct.pack("<f", value))
            for tag, value in values.items()
            if math.isfinite(value)
        ]
        self._append(_number(2, step) + _field(5, b"".join(entries)))

    def _append(self, fields: bytes) -> None:
        event = _key(1, _DOUBLE) + struct.pack("<d", time.time()) + fields
        length = struct.pack("<Q", len(event))
        with self._path.open("ab") as file:
            file.write(length + _masked_crc(length) + event + _masked_crc(event))


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _field(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits at a time, lowest first; the eighth says that more follow."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _masked_crc(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli), which the standard library does not have."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)
    return byte


_TABLE = [_remainder(byte) for byte in range(256)]
