"""Sums that do not depend on the order of their terms.

Floating-point addition is not associative, so the same items summed on one worker and on eight would differ in the last bits.
Here every number that enters a sum becomes a pair of integers ``(whole, fraction)`` with the value
``whole + fraction / 2**40``, ``0 <= fraction < 2**40``. Integer addition is associative and commutative, hence any
order and any sharding of the same terms gives the same bits. A term is rounded once, by at most ``2**-41`` (4.5e-13).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alframe.errors import NonFiniteError

__all__ = ["carry", "fixed", "floats"]

_BITS = 40


def fixed(values: ArrayLike) -> NDArray[np.int64]:
    """Pairs ``(..., 2)`` for finite values ``(...)`` below 2**62 in size.

    Raises:
        NonFiniteError: on NaN, infinity or a value that does not fit.
    """
    array = np.asarray(values, np.float64)
    if not np.all(np.abs(array) < 2.0**62):
        raise NonFiniteError(
            "a sum of metrics is NaN, infinite or beyond 2**62; look for such values in the prediction"
        )
    whole = np.floor(array)
    fraction = np.rint((array - whole) * 2.0**_BITS)
    return carry(np.stack([whole, fraction], axis=-1).astype(np.int64))


def carry(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The canonical pairs of a sum of up to 2**22 canonical pairs."""
    whole, fraction = pairs[..., 0], pairs[..., 1]
    return np.stack([whole + (fraction >> _BITS), fraction & ((1 << _BITS) - 1)], axis=-1)


def floats(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values ``(...)`` of canonical pairs ``(..., 2)``."""
    return np.asarray(pairs[..., 0] + pairs[..., 1] * 2.0**-_BITS, np.float64)
