"""What every :class:`alframe.ports.Artifacts` must do. Subclass and give :meth:`ArtifactsContract.make`."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe.errors import ArtifactMissing, InvalidValue
from alframe.ports import Artifacts

__all__ = ["ArtifactsContract"]

DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def _assert_same(found: dict[str, NDArray[Any]], given: dict[str, NDArray[Any]]) -> None:
    assert sorted(found) == sorted(given)
    for name, array in given.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


class ArtifactsContract:
    """Behaviour promised by the port. `make` gives an empty store."""

    @pytest.fixture
    def make(self) -> Artifacts:
        """An empty store."""
        raise NotImplementedError("give the contract an empty artifact store")

    def test_bytes_come_back_under_their_hash(self, make: Artifacts) -> None:
        for data in (b"", b"\0", b"some bytes" * 1000):
            ref = make.put("checkpoint", data)
            assert (ref.kind, ref.sha256, ref.size) == ("checkpoint", hashlib.sha256(data).hexdigest(), len(data))
            assert make.get(ref) == data
            assert make.put("checkpoint", data) == ref

    def test_missing_bytes_are_named(self, make: Artifacts) -> None:
        ref = replace(make.put("mask", b"x"), sha256="ab" * 32)
        with pytest.raises(ArtifactMissing, match="abab"):
            make.get(ref)

    @pytest.mark.parametrize("kind", ["", "../up", "a/b", "UPPER", ".hidden", "a b"])
    def test_a_kind_is_a_plain_name(self, make: Artifacts, kind: str) -> None:
        with pytest.raises(InvalidValue, match="kind"):
            make.put(kind, b"x")

    def test_a_reference_cannot_name_a_path(self, make: Artifacts) -> None:
        ref = make.put("mask", b"x")
        for name in ("../../etc/passwd", "", "AB" * 32, "ab" * 31):
            with pytest.raises(InvalidValue):
                make.get(replace(ref, sha256=name))

    def test_it_travels(self, make: Artifacts) -> None:
        ref = make.put("mask", b"here")
        copy: Artifacts = pickle.loads(pickle.dumps(make))  # noqa: S301 - our own bytes
        assert copy.get(ref) == b"here"

    def test_threads_may_put_the_same_bytes(self, make: Artifacts) -> None:
        data = bytes(range(256)) * 400
        with ThreadPoolExecutor(8) as pool:
            refs = set(pool.map(lambda _: make.put("mask", data), range(32)))
        assert len(refs) == 1
        assert make.get(refs.pop()) == data

    @pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (2, 3, 4)])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_arrays_come_back_equal(self, make: Artifacts, dtype: str, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(3).integers(0, 2, shape).astype(dtype)
        given = {"a": values, "Ünï code": np.asarray(values)}
        found = make.get_arrays(make.put_arrays("mask", given))
        _assert_same(found, given)
        found["a"][...] = 0

    def test_equal_arrays_give_equal_references(self, make: Artifacts) -> None:
        table = np.arange(24, dtype=np.float32).reshape(4, 6)
        views = {"t": table.T, "strided": table[::2, ::3], "big": table.astype(">f4"), "m": np.asfortranarray(table)}
        plain = {name: np.array(array, dtype="<f4", order="C") for name, array in reversed(views.items())}
        ref = make.put_arrays("mask", views)
        assert make.put_arrays("mask", plain) == ref
        _assert_same(make.get_arrays(ref), plain)
        assert make.put_arrays("mask", {**plain, "m": plain["m"] + 1}) != ref

    def test_nan_and_infinity_keep_their_bits(self, make: Artifacts) -> None:
        given = {"x": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])}
        _assert_same(make.get_arrays(make.put_arrays("mask", given)), given)
        _assert_same(make.get_table(make.put_table("scores", given)), given)

    @pytest.mark.parametrize(
        "bad", [np.array(["a"]), np.array([None]), np.array([1j]), np.array(["2001-01-01"], "M8[D]")]
    )
    def test_other_types_are_refused(self, make: Artifacts, bad: NDArray[Any]) -> None:
        with pytest.raises(InvalidValue, match="'a'"):
            make.put_arrays("mask", {"a": bad})
        if bad.dtype.kind != "U":
            with pytest.raises(InvalidValue, match="'a'"):
                make.put_table("scores", {"a": bad})

    def test_tables_come_back_equal(self, make: Artifacts) -> None:
        rng = np.random.default_rng(5)
        given: dict[str, NDArray[Any]] = {dtype: rng.integers(0, 2, 50).astype(dtype) for dtype in DTYPES}
        given["item"] = np.array(["", "Größe", "a\nb", "日本", "x" * 40] * 10)
        _assert_same(make.get_table(make.put_table("scores", given)), given)

    def test_equal_tables_give_equal_references(self, make: Artifacts) -> None:
        given = {"item": np.array(["a", "b"]), "score": np.array([0.1, 0.2])}
        ref = make.put_table("scores", given)
        assert make.put_table("scores", dict(reversed(given.items()))) == ref
        assert (
            make.put_table("scores", {"item": np.array(["a", "b"], "U9"), "score": given["score"].astype(">f8")}) == ref
        )
        assert make.put_table("scores", {**given, "score": np.array([0.1, 0.3])}) != ref

    def test_an_empty_table_keeps_its_columns(self, make: Artifacts) -> None:
        given = {"item": np.zeros(0, "U1"), "score": np.zeros(0), "n": np.zeros(0, np.int32)}
        _assert_same(make.get_table(make.put_table("scores", given)), given)

    def test_malformed_tables_are_refused(self, make: Artifacts) -> None:
        column = np.zeros(3)
        for bad in ({}, {"a": column, "b": np.zeros(2)}, {"a": np.zeros((3, 1))}, {"a": np.float64(3)}):
            with pytest.raises(InvalidValue, match="columns"):
                make.put_table("scores", bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidValue, match="Unicode"):
            make.put_table("scores", {"a": np.array(["\ud800"])})

    def test_a_table_is_no_arrays(self, make: Artifacts) -> None:
        with pytest.raises(InvalidValue, match="arrays"):
            make.get_arrays(make.put_table("scores", {"a": np.zeros(3)}))
