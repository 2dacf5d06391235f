"""The brush code against a reader that takes it bit by bit, and against Label Studio's own."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NotFound
from alframe.oracles.label_studio.brush import decode, encode, unpack
from alframe.testing.label_studio import sdk_brush

masks = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


def bit_by_bit(data: bytes) -> list[int]:
    """All values of a code, as its description says it."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated, size = take(1), sizes[take(2)]
        length = take(size) + 1
        values += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    return values


@st.composite
def codes(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Any code there can be, not only those that our writer makes: repeated values and single ones, of any widths."""
    word = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    bits, values = "", list[int]()
    for _ in range(draw(st.integers(0, 12))):
        choice = draw(st.integers(0, 3))
        length = draw(st.integers(1, min(2 ** sizes[choice], 50)))
        repeated = draw(st.booleans())
        given = [draw(st.integers(0, 2**word - 1)) for _ in range(1 if repeated else length)]
        bits += f"{int(repeated)}{choice:02b}{length - 1:0{sizes[choice]}b}" + "".join(f"{v:0{word}b}" for v in given)
        values += given * length if repeated else given
    bits = f"{len(values):032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes) + bits
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)), values


@given(codes())
def test_every_code_is_read_as_bit_by_bit(code: tuple[bytes, list[int]]) -> None:
    data, values = code
    assert bit_by_bit(data) == values
    found, repeats = unpack(data)
    assert np.repeat(found, repeats).tolist() == values


@given(masks)
def test_masks_come_back(mask: NDArray[np.bool_]) -> None:
    code = encode(mask)
    values = np.array(bit_by_bit(bytes(code))).reshape(*mask.shape, 4)
    assert (values == 255 * mask[..., None]).all()
    assert np.array_equal(decode(code, mask.shape), mask)


def test_runs_longer_than_a_record() -> None:
    for shape in ((300, 300), (1, 70_000), (128, 128), (256, 64)):
        for mask in (np.zeros(shape, bool), np.ones(shape, bool)):
            assert np.array_equal(decode(encode(mask), shape), mask)


def test_a_mask_by_hand() -> None:
    """Two pixels, the second one painted: 8 values; widths 8 and 3, 4, 8, 16; twice a run of four."""
    bits = f"{8:032b}" + "00111" + "0010" + "0011" + "0111" + "1111" + "10001100000000" + "10001111111111"
    bits += "0" * (-len(bits) % 8)
    by_hand = [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]
    assert encode(np.array([[False, True]])) == by_hand


def test_half_covered_counts_as_painted() -> None:
    """The page smooths the borders of strokes, and writes the alpha of a pixel four times."""
    alpha = [0, 127, 128, 255]
    bits = f"{16:032b}" + "00111" + "0010001101111111" + "".join(f"100011{value:08b}" for value in alpha)
    code = [int(bits[k : k + 8].ljust(8, "0"), 2) for k in range(0, len(bits), 8)]
    assert decode(code, (1, 4)).tolist() == [[False, False, True, True]]


@given(masks, st.data())
def test_a_damaged_code_is_refused_or_another_mask(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    """Never another error, and never an array of another size than the picture's."""
    code = encode(mask)
    at = data.draw(st.integers(0, len(code) - 1))
    damaged = [*code[:at], code[at] ^ data.draw(st.integers(1, 255)), *code[at + 1 :]]
    for wrong in (damaged, code[:at], damaged + [0] * 9):
        try:
            found = decode(wrong, mask.shape)
        except InvalidValue:
            continue
        assert found.shape == mask.shape


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ([], "0 bytes"),
        ([255] * 12, "4294967295 values"),
        ([0, 0, 0, 16] + [0] * 3, "not complete"),
        ([0, 0, 0, 16, 0xFF] + [0] * 9, "8 bits"),
        ([300], "0 to 255"),
        (["a"], "0 to 255"),
        (None, "0 to 255"),
        ([0, 0, 0, 16, 57, 27, 255, 0x9F, 0xFF, 0xFF], "holds"),
    ],
)
def test_what_is_no_brush_is_refused(code: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        decode(code, (1, 4))


@pytest.fixture(scope="module")
def sdk() -> ModuleType:
    """Label Studio's own codec, a file that needs nothing but NumPy and Pillow."""
    try:
        path = sdk_brush()
    except NotFound as error:
        pytest.skip(str(error))
    found = importlib.util.spec_from_file_location("sdk_brush", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@given(mask=masks)
def test_the_bytes_are_those_of_the_sdk(sdk: ModuleType, mask: NDArray[np.bool_]) -> None:
    code = sdk.mask2rle((255 * mask).astype(np.uint8))
    assert encode(mask) == code
    assert np.array_equal(decode(code, mask.shape), mask)
    assert np.array_equal(sdk.decode_rle(encode(mask)).reshape(*mask.shape, 4)[..., 3] > 0, mask)


@given(code=codes())
def test_what_the_sdk_reads_is_read_equally(sdk: ModuleType, code: tuple[bytes, list[int]]) -> None:
    found, repeats = unpack(code[0])
    assert np.array_equal(np.repeat(found, repeats), sdk.decode_rle(code[0]))


@pytest.mark.parametrize("side", [128, 512])
def test_large_masks_equal_those_of_the_sdk(sdk: ModuleType, side: int) -> None:
    rng = np.random.default_rng(side)
    for mask in (
        rng.random((side, side)) > 0.5,
        np.ones((side, side), bool),
        np.kron(rng.random((8, 8)) > 0.5, np.ones((side // 8,) * 2)) > 0,
    ):
        code = sdk.mask2rle((255 * mask).astype(np.uint8))
        assert encode(mask) == code
        assert np.array_equal(decode(code, mask.shape), mask)
