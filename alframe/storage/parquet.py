"""One-dimensional columns as deterministic Parquet bytes, and back.

The writer's settings are fixed and columns are sorted by name, so equal tables give equal bytes (with one version of pyarrow,
which Parquet files name in their footer). Types: unicode, bool, 8 to 64-bit integers, float16/32/64; no nulls.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alframe.errors import ArtifactDamaged, InvalidValue

__all__ = ["LIMIT_BYTES", "decode", "encode"]

LIMIT_BYTES = 8 * 2**30
"""The largest table, before compression, that :func:`decode` expands unless told otherwise."""
ROW_GROUP = 2**20
_DTYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])


def encode(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Encode equally long columns.

    Raises:
        InvalidValue: without columns, for columns of different length, with more than one axis, or of another type.
    """
    lengths = {name: np.shape(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise InvalidValue(f"a table needs columns of one axis and one length, got shapes {lengths}")
    fields = {name: _column(name, np.asarray(columns[name])) for name in sorted(columns)}
    table = pa.table(
        fields, schema=pa.schema([pa.field(name, part.type, nullable=False) for name, part in fields.items()])
    )
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=False,
        write_statistics=True,
        row_group_size=ROW_GROUP,
    )
    return sink.getvalue()


def _column(name: str, values: NDArray[Any]) -> Any:
    if values.dtype.kind == "U":
        try:
            return pa.array(values.tolist(), type=pa.string())
        except UnicodeEncodeError as error:
            raise InvalidValue(f"column {name!r} holds text that is not valid Unicode: {error}") from error
    if values.dtype.str[1:] not in _DTYPES:
        raise InvalidValue(f"column {name!r}: expected text, bool, integers or floats, got {values.dtype}")
    return pa.array(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"), from_pandas=False)


def decode(data: bytes, *, limit: int = LIMIT_BYTES) -> dict[str, NDArray[Any]]:
    """The inverse of :func:`encode`; columns come sorted by name. The declared size is checked before anything is expanded.

    Raises:
        InvalidValue: when the table declares more than `limit` bytes.
        ArtifactDamaged: when `data` is not a readable Parquet file.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        rows = max(file.metadata.num_rows, sum(group.num_rows for group in groups))  # what is read goes by the groups'
        size = max(sum(group.total_byte_size for group in groups), rows * file.metadata.num_columns)
        if size > limit:
            raise InvalidValue(
                f"the table declares {size} bytes, more than the limit of {limit}; raise it if it is yours"
            )
        table = file.read(use_threads=False)
        return {name: _values(table.column(name)) for name in table.column_names}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ArtifactDamaged(f"expected a Parquet table, but it cannot be read: {error}") from error


def _values(column: Any) -> NDArray[Any]:
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    return np.array(column.to_numpy())
