"""Named arrays as deterministic bytes, and back.

Format (all integers little-endian)::

    bytes 0-7    b"ALFARRAY"
    byte  8      version, 1
    bytes 9-16   size of the payload before compression, uint64
    bytes 17-    zlib stream (level 6) of a safetensors payload

The safetensors header lists the arrays by alignment and name, whatever the order of the mapping, so equal arrays give equal
bytes (with one build of zlib). Any shape is kept, also 0-d and empty; the types are bool, 8 to 64-bit integers, float16/32/64.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from alframe.errors import ArtifactDamaged, InvalidValue

__all__ = ["LIMIT_BYTES", "decode", "encode"]

MAGIC = b"ALFARRAY\x01"
HEADER = struct.Struct("<9sQ")
LIMIT_BYTES = 8 * 2**30
"""The largest payload that :func:`decode` expands unless told otherwise."""
_DTYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Encode named arrays.

    Raises:
        InvalidValue: for an array type that the format does not have, or the name ``__metadata__``.
    """
    payload = save({name: _canonical(name, array) for name, array in arrays.items()})
    return HEADER.pack(MAGIC, len(payload)) + zlib.compress(payload, 6)


def _canonical(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Little-endian and in C order: safetensors writes the memory as it lies, a transposed view would come back wrong."""
    values = np.asarray(array)
    if name == "__metadata__":
        raise InvalidValue("the array name '__metadata__' has a meaning of its own in safetensors; choose another")
    if values.dtype.str[1:] not in _DTYPES:
        raise InvalidValue(
            f"array {name!r}: expected bool, integers or float16/32/64, got {values.dtype}; convert it before storing"
        )
    return np.array(values, dtype=values.dtype.newbyteorder("<"), order="C", copy=None)


def decode(data: bytes, *, limit: int = LIMIT_BYTES) -> dict[str, NDArray[Any]]:
    """The inverse of :func:`encode`; the arrays are writable. The declared size is checked before anything is expanded.

    Raises:
        InvalidValue: when `data` is not in this format or declares more than `limit` bytes.
        ArtifactDamaged: when the stream breaks off or holds another size than declared.
    """
    if len(data) < HEADER.size or data[: len(MAGIC)] != MAGIC:
        raise InvalidValue(f"expected alframe arrays (version 1), got bytes that begin with {data[:9]!r}")
    size = HEADER.unpack_from(data)[1]
    if size > limit:
        raise InvalidValue(
            f"arrays declare {size} bytes, more than the limit of {limit}; raise the limit if they are yours"
        )
    stream = zlib.decompressobj()
    try:
        payload = stream.decompress(memoryview(data)[HEADER.size :], max_length=max(size, 1))
        payload += stream.decompress(stream.unconsumed_tail, max_length=1)
        if len(payload) != size or not stream.eof or stream.unused_data:
            raise ArtifactDamaged(f"arrays declare {size} bytes but the stream holds another number")
        arrays: dict[str, NDArray[Any]] = load(payload)
    except (zlib.error, SafetensorError) as error:
        raise ArtifactDamaged(f"arrays cannot be decoded: {error}") from error
    return arrays
