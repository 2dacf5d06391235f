"""Selectors: the candidates of all items → the batch.

Every selector first puts the table into one order (item, start, stratum), and draws a row's noise from a hash of the seed
and of what the row is. So neither the order of the rows nor the way they were sharded can change the batch.

Sources: power and softrank, Kirsch et al. 2021 (arXiv 2106.12059, Table 1); stochastic batches, Gaillochet et al. 2023
(arXiv 2301.07670). Legend: ``N`` rows of the table, ``D`` spatial axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.seeding import derive, generator
from alframe.types import Candidates

__all__ = ["Batch", "Selector", "SelectorName", "choose", "fill_strata", "row_keys", "split_evenly"]

SelectorName = Literal["top_k", "power", "softrank", "stochastic_batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """How scores become a batch.

    `beta` is the inverse scale of the Gumbel noise of ``power`` and ``softrank`` (1 when not given; larger = greedier);
    `groups` the number of random groups that ``stochastic_batch`` compares (32 when not given).

    Raises:
        InvalidValue: for a number out of range, or one that the type does not use.
    """

    type: SelectorName = "top_k"
    beta: float | None = None
    groups: int | None = None

    def __post_init__(self) -> None:
        if self.type not in ("top_k", "power", "softrank", "stochastic_batch"):
            raise InvalidValue(f"selector must be top_k, power, softrank or stochastic_batch, got {self.type!r}")
        if self.beta is not None and self.type not in ("power", "softrank"):
            raise InvalidValue(f"selector {self.type} has no noise; remove beta, or use power or softrank")
        if self.beta is not None and not 0 < self.beta < np.inf:
            raise InvalidValue(f"beta must be a positive number, got {self.beta}")
        if self.groups is not None and self.type != "stochastic_batch":
            raise InvalidValue(f"selector {self.type} has no groups; remove groups, or use stochastic_batch")
        if self.groups is not None and self.groups < 1:
            raise InvalidValue(f"groups must be at least 1, got {self.groups}")


class Batch:
    """A batch in the making: rows in canonical order, and which of them may still be taken.

    `rows` is the sorted table; taking a row closes the rows of the same item that share more than `max_overlap` of
    their own area with it.

    Raises:
        NonFiniteError: when a score is NaN or infinite.
    """

    def __init__(self, candidates: Candidates, *, max_overlap: float) -> None:
        bad = ~np.isfinite(candidates.score)
        if bad.any():
            row = int(bad.argmax())
            raise NonFiniteError(
                f"item {candidates.item[row]}: the candidate {candidates.box(row)} has no finite score"
            )
        names = candidates.item.tolist()
        unique = sorted(dict.fromkeys(names))  # parts of a pool come in order, which a set would destroy
        code = {name: position for position, name in enumerate(unique)}
        codes = np.fromiter((code[name] for name in names), np.int64, len(names))
        corners = candidates.start.T[::-1]
        order = np.lexsort((candidates.stratum, *corners, codes))
        self.rows = candidates.take(order)
        self.items = unique
        self.codes = codes[order]
        self.max_overlap = max_overlap
        self.open = np.ones(len(order), bool)
        self.chosen: list[int] = []
        self._bounds = np.searchsorted(self.codes, np.arange(len(unique) + 1))

    def take(self, keys: NDArray[np.float64], count: int, among: NDArray[np.bool_] | None = None) -> list[int]:
        """Take up to `count` open rows by descending key (ties in canonical order); returns them, best first."""
        free = np.flatnonzero(self.open if among is None else self.open & among)
        taken: list[int] = []
        size = 8 * count + 64
        while len(taken) < count and len(free):
            head = _largest(keys[free], size)
            for row in free[head].tolist():
                if self.open[row]:
                    taken.append(row)
                    self._close(row)
                    if len(taken) == count:
                        break
            free = np.delete(free, head)
            free = free[self.open[free]]
            size *= 4
        self.chosen += taken
        return taken

    def table(self) -> Candidates:
        """The rows taken so far, in the order in which they were taken."""
        return self.rows.take(self.chosen)

    def _close(self, row: int) -> None:
        code = self.codes[row]
        span = slice(int(self._bounds[code]), int(self._bounds[code + 1]))
        start, stop = self.rows.start[span].astype(np.int64), self.rows.stop[span].astype(np.int64)
        sides = np.minimum(stop, self.rows.stop[row]) - np.maximum(start, self.rows.start[row])
        shared = np.maximum(sides, 0).prod(axis=1)
        self.open[span] &= ~(shared / (stop - start).prod(axis=1) > self.max_overlap)


def choose(candidates: Candidates, *, selector: Selector, count: int, seed: int, max_overlap: float) -> Candidates:
    """The batch of at most `count` rows, best first.

    Raises:
        InvalidValue: when `count` is negative.
        NonFiniteError: when a score is NaN or infinite.
    """
    _require_count(count)
    batch = Batch(candidates, max_overlap=max_overlap)
    if selector.type == "stochastic_batch":
        _best_group(batch, selector.groups or 32, count=count, seed=seed)
    else:
        batch.take(row_keys(batch, selector, seed=seed), count)
    return batch.table()


def row_keys(batch: Batch, selector: Selector, *, seed: int) -> NDArray[np.float64]:
    """The key (N) by which ``top_k``, ``power`` or ``softrank`` takes the rows of `batch`, largest first."""
    score = batch.rows.score
    if selector.type == "top_k" or not len(score):
        return score
    beta = 1.0 if selector.beta is None else selector.beta
    noise = gumbel(row_hash(batch, derive(seed, selector.type))) / beta
    if selector.type == "power":
        return np.log(np.maximum(score, np.finfo(np.float64).tiny)) + noise
    rank = np.empty(len(score))
    rank[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1)
    return noise - np.log(rank)


def row_hash(batch: Batch, seed: int) -> NDArray[np.uint64]:
    """64 uniform bits for each row (N) of `batch`, a function of `seed`, item, start and stratum only."""
    heads = np.array([derive(seed, item) for item in batch.items], np.uint64)
    state = heads[batch.codes]
    for column in (*batch.rows.start.T, batch.rows.stratum):
        state = _mix(state ^ column.astype(np.uint64))
    return state


def gumbel(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Standard Gumbel variates from uniform bits by inversion, finite for every input."""
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return np.asarray(-np.log(-np.log(uniform)))


def split_evenly(count: int, parts: list[int], *, seed: int, purpose: str) -> dict[int, int]:
    """Shares of `count` for each of `parts` (at least one); who gets the remainder is drawn from `seed` and `purpose`."""
    share, extra = divmod(count, len(parts))
    lucky = set(generator(seed, purpose).permutation(len(parts))[:extra].tolist())
    return {part: share + (position in lucky) for position, part in enumerate(parts)}


def fill_strata(batch: Batch, quotas: Mapping[int, int], keys: NDArray[np.float64], *, count: int) -> None:
    """Take each stratum's quota in the order of `quotas`; what a stratum lacks, the last one gives, and then any.

    Raises:
        InvalidValue: when `count` is negative.
    """
    _require_count(count)
    for stratum, quota in quotas.items():
        batch.take(keys, quota, batch.rows.stratum == stratum)
    last = next(reversed(quotas))
    batch.take(keys, count - len(batch.chosen), batch.rows.stratum == last)
    batch.take(keys, count - len(batch.chosen))


def _best_group(batch: Batch, groups: int, *, count: int, seed: int) -> None:
    """Draw `groups` random groups of at most `count` rows, keep a fullest one, and of these the one with the highest mean score."""
    base = row_hash(batch, derive(seed, "stochastic_batch"))
    best: list[int] = []
    best_value = (0, -np.inf)
    for group in range(groups):
        bits = _mix(base ^ np.uint64(derive(seed, "stochastic_batch", group)))
        batch.open[:] = True
        rows = batch.take((bits >> np.uint64(11)).astype(np.float64), count)
        batch.chosen.clear()
        value = (len(rows), float(batch.rows.score[rows].mean()) if rows else -np.inf)
        if value > best_value:
            best, best_value = rows, value
    batch.chosen = sorted(best, key=lambda row: (-batch.rows.score[row], row))


def _largest(keys: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Positions of the `size` largest keys, and of all that tie with the last of them; descending, ties in order."""
    if size < len(keys):
        bound = np.partition(keys, len(keys) - size)[len(keys) - size]
        head = np.flatnonzero(keys >= bound)
    else:
        head = np.arange(len(keys))
    return head[np.argsort(-keys[head], kind="stable")]


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection whose output bits all depend on all input bits."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _require_count(count: int) -> None:
    if count < 0:
        raise InvalidValue(f"a batch cannot have {count} queries; give 0 or more")
