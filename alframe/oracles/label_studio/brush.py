"""Brush masks as Label Studio stores them: the run-length code of thi.ng/rle-pack over R, G, B, A of each pixel, row by row.

The bytes are one stream of bits, highest first: 32 bits *n*, the number of values; 5 bits, the width of a value less 1; four
times 4 bits, the widths less 1 that a length may have. Then records until there are *n* values: 1 bit *x*, 2 bits that choose a
width, a length less 1 of that width, and either one value (*x* = 1: repeated) or as many as the length says. Label Studio's
page writes the alpha of a stroke into all four channels; its borders are smoothed, so that half covered counts as painted.

Legend: ``Y X`` the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue

__all__ = ["decode", "encode", "unpack"]

_CHANNELS = 4
_PAINTED = 128
_HEAD = 32 + 5 + 4 * 4
_SIZES = (3, 4, 8, 16)
"""The widths that :func:`encode` writes lengths in, as Label Studio's own programs do."""
_LONGEST = 2**16


def encode(mask_YX: NDArray[np.bool_]) -> list[int]:
    """The code of a mask: the same bytes as Label Studio's SDK makes of it (255 where painted)."""
    values = np.asarray(mask_YX, np.bool_).ravel()
    total = values.size * _CHANNELS
    if not 0 < total < 2**32:
        raise InvalidValue(f"a brush holds 1 to {2**30 - 1:,} pixels, got {values.size:,}; label smaller regions")
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = np.diff(np.append(starts, values.size)) * _CHANNELS
    parts = -(-lengths // _LONGEST)  # a record holds at most 2**16
    pieces = np.full(int(parts.sum()), _LONGEST, np.int64)
    pieces[np.cumsum(parts) - 1] = lengths - (parts - 1) * _LONGEST
    paint = np.where(np.repeat(values[starts], parts), 255, 0)
    choice = np.searchsorted([2**size for size in _SIZES], pieces)
    width = np.array(_SIZES)[choice]
    records = ((4 + choice) << width | (pieces - 1)) << 8 | paint  # x = 1, the choice, the length, the value
    sizes = sum((size - 1) << 4 * (3 - place) for place, size in enumerate(_SIZES))
    head = np.array([total >> 16, total & 0xFFFF, 7 << 16 | sizes])
    return _packed(np.concatenate([head, records]), np.concatenate([[16, 16, 21], 11 + width]))


def _packed(values: NDArray[np.int64], widths: NDArray[np.int64]) -> list[int]:
    """Bytes of values in so many bits each (at most 32), highest first; a whole zero byte where no bits are spare."""
    ends = np.cumsum(widths)
    begins = ends - widths
    size = int(ends[-1]) // 8 + 1
    placed = values << (40 - widths - (begins & 7))  # five bytes, from the one in which the value begins
    data = np.zeros(size + 5)
    for place in range(5):
        part = placed >> 8 * (4 - place) & 255
        data += np.bincount((begins >> 3) + place, weights=part, minlength=size + 5)
    packed: list[int] = data[:size].astype(np.int64).tolist()
    return packed


def decode(code: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The painted pixels (Y, X) of an image of `shape`.

    Raises:
        InvalidValue: when this is no code of such an image; nothing larger than the image is ever made.
    """
    data = _bytes(code)
    wanted = shape[0] * shape[1] * _CHANNELS
    if len(data) * 8 < _HEAD:
        raise InvalidValue(f"expected a brush of {shape[1]} x {shape[0]} pixels, got {len(data)} bytes")
    total = int.from_bytes(data[:4], "big")
    if total != wanted:
        raise InvalidValue(f"expected a brush of {shape[1]} x {shape[0]} pixels ({wanted} values), got {total} values")
    values, repeats = unpack(data)
    pixels = np.cumsum(repeats) // _CHANNELS  # how many alphas there are by the end of each value
    painted: NDArray[np.bool_] = np.repeat(values >= _PAINTED, np.diff(pixels, prepend=0)).reshape(shape)
    return painted


def _bytes(code: Sequence[int]) -> bytes:
    try:
        return bytes(list(code))  # of a number bytes() would make so many zeros
    except (TypeError, ValueError) as error:
        raise InvalidValue("a brush is a list of whole numbers from 0 to 255") from error


def unpack(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The values of a code, in order, and how often each of them is repeated.

    Where a record begins depends on all records before it, so that is found one by one; what they hold is then read at once.

    Raises:
        InvalidValue: when the bits end too early or make more values than they say, or values are wider than a byte.
    """
    total = int.from_bytes(data[:4], "big")
    head = int.from_bytes(data[4:7], "big")
    word = (head >> 19) + 1
    if word > 8:
        raise InvalidValue(f"expected values of at most 8 bits in a brush, got {word}")
    sizes = np.array([(head >> shift & 15) + 1 for shift in (15, 11, 7, 3)])
    source = np.frombuffer(data + bytes(5), np.uint8).astype(np.int64)
    windows = source[:-3] << 24 | source[1:-2] << 16 | source[2:-1] << 8 | source[3:]  # 32 bits from each byte on
    begins = np.array(_begins(windows, sizes.tolist(), word, total), np.int64)
    window, shift = windows[begins >> 3], begins & 7
    kind = window >> (29 - shift) & 7
    size = sizes[kind & 3]
    lengths = (window >> (29 - shift - size) & ((1 << size) - 1)) + 1
    runs = kind > 3
    stored = np.where(runs, 1, lengths)
    ends = np.cumsum(stored)
    within = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - stored, stored)
    place = np.repeat(begins + 3 + size, stored) + within * word
    values = (windows[place >> 3] >> (32 - word - (place & 7)) & ((1 << word) - 1)).astype(np.uint8)
    return values, np.repeat(np.where(runs, lengths, 1), stored)


def _begins(windows: NDArray[np.int64], sizes: list[int], word: int, total: int) -> list[int]:
    """At which bit each record begins. Raises InvalidValue."""
    bits: list[int] = windows.tolist()
    # by the first three bits of a record: bits of its head, how far its length is from a window's end, and how many that are
    heads = [(3 + size, 29 - size, (1 << size) - 1) for size in sizes]
    last = 8 * (len(bits) - 2)
    begins: list[int] = []
    position, made = _HEAD, 0
    while made < total and position < last:
        shift = position & 7
        window = bits[position >> 3]
        kind = window >> (29 - shift) & 7
        head, far, mask = heads[kind & 3]
        length = (window >> (far - shift) & mask) + 1
        begins.append(position)
        made += length
        position += head + (word if kind > 3 else word * length)
    if made < total or position > last:
        raise InvalidValue(f"the brush ends before its {total} values; it is not complete")
    if made > total:
        raise InvalidValue(f"the brush holds {made} values, but says {total}")
    return begins
