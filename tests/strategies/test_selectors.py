"""Selectors against scalar re-implementations and the distributions that their papers state."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alframe.seeding import derive
from alframe.strategies.selectors import Batch, Selector, choose, gumbel, row_hash, row_keys, split_evenly
from alframe.types import Candidates

LARGE = 2**64
FALSE_ALARM = 1e-4
"""Level of every statistical test here. Seeds are fixed and there are about a dozen such tests: at 1 % each, one of them would
fail by chance for one choice of seeds in nine. The draws are many enough to find a real bias at this level all the same."""


def table(scores: list[float], *, items: list[str] | None = None, starts: list[int] | None = None) -> Candidates:
    """One-axis boxes of length 1, each in an item of its own unless given."""
    n = len(scores)
    start = np.array(starts if starts is not None else [0] * n, np.int32).reshape(n, 1)
    names = items if items is not None else [f"i{k:04d}" for k in range(n)]
    return Candidates(
        item=np.array(names, dtype=np.str_),
        start=start,
        stop=start + 1,
        score=np.array(scores, np.float64),
        stratum=np.zeros(n, np.int8),
    )


def pick(candidates: Candidates, count: int, seed: int, **selector: object) -> list[str]:
    chosen = choose(candidates, selector=Selector(**selector), count=count, seed=seed, max_overlap=0.0)  # type: ignore[arg-type]
    return [str(item) for item in chosen.item]


def splitmix(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) % LARGE
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % LARGE
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % LARGE
    return state ^ (state >> 31)


def scalar_gumbel(seed: int, item: str, start: tuple[int, ...], stratum: int) -> float:
    state = derive(seed, item)
    for value in (*start, stratum):
        state = splitmix(state ^ value)
    return -math.log(-math.log(((state >> 12) + 0.5) / 2**52))


@given(seed=st.integers(0, 2**62), scores=st.lists(st.floats(0, 10), min_size=1, max_size=30))
@settings(deadline=None, max_examples=50)
def test_noise_and_keys_equal_a_scalar_version(seed: int, scores: list[float]) -> None:
    names = [f"item {k % 4}" for k in range(len(scores))]
    batch = Batch(table(scores, items=names, starts=list(range(len(scores)))), max_overlap=0.0)
    for kind in ("power", "softrank"):
        keys = row_keys(batch, Selector(type=kind, beta=3.0), seed=seed)  # type: ignore[arg-type]
        ranks = {
            row: 1 + r for r, row in enumerate(sorted(range(len(scores)), key=lambda r: (-batch.rows.score[r], r)))
        }
        for row, key in enumerate(keys):
            noise = (
                scalar_gumbel(derive(seed, kind), str(batch.rows.item[row]), (int(batch.rows.start[row, 0]),), 0) / 3
            )
            base = (
                math.log(max(batch.rows.score[row], np.finfo(float).tiny)) if kind == "power" else -math.log(ranks[row])
            )
            assert key == pytest.approx(base + noise, rel=1e-12, abs=1e-12)


def test_the_noise_of_a_row_does_not_know_the_other_rows() -> None:
    many = Batch(table([1.0] * 50), max_overlap=0.0)
    few = Batch(many.rows.take([7, 31]), max_overlap=0.0)
    np.testing.assert_array_equal(row_hash(many, 5)[[7, 31]], row_hash(few, 5))


def test_noise_is_gumbel_distributed_and_finite_at_the_ends() -> None:
    grid = np.stack(np.meshgrid(np.arange(100), np.arange(100), indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)
    rows = Candidates(
        item=np.full(len(grid), "one"),
        start=grid,
        stop=grid + 1,
        score=np.ones(len(grid)),
        stratum=np.zeros(len(grid), np.int8),
    )
    noise = gumbel(row_hash(Batch(rows, max_overlap=0.0), 3))
    assert stats.kstest(noise, stats.gumbel_r.cdf).pvalue > FALSE_ALARM
    field = noise.reshape(100, 100)
    for a, b in ((field[1:], field[:-1]), (field[:, 1:], field[:, :-1])):
        assert abs(stats.spearmanr(a.ravel(), b.ravel()).statistic) < 0.03
    assert np.isfinite(gumbel(np.array([0, LARGE - 1], np.uint64))).all()


@pytest.mark.parametrize(
    ("kind", "beta", "weights"),
    [
        ("power", 1.0, [1.0, 2.0, 3.0, 4.0]),
        ("power", 2.0, [1.0, 4.0, 9.0, 16.0]),
        ("softrank", 1.0, [1 / 4, 1 / 3, 1 / 2, 1.0]),
        ("softrank", 2.0, [1 / 16, 1 / 9, 1 / 4, 1.0]),
    ],
)
def test_the_first_pick_follows_the_closed_form(kind: str, beta: float, weights: list[float]) -> None:
    """argmax of log w + Gumbel has probability w / Σw (Kirsch et al. 2021, proposition 4.1)."""
    candidates = table([1.0, 2.0, 3.0, 4.0], items=list("abcd"))
    draws = [pick(candidates, 1, seed, type=kind, beta=beta)[0] for seed in range(3000)]
    expected = np.array(weights) / sum(weights) * len(draws)
    assert stats.chisquare([draws.count(item) for item in "abcd"], expected).pvalue > FALSE_ALARM


def test_large_beta_is_top_k() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 41.0)).tolist()
    greedy = pick(table(scores), 10, 1)
    for kind in ("power", "softrank"):
        assert pick(table(scores), 10, 1, type=kind, beta=1e6) == greedy


def test_power_takes_a_score_of_zero_last() -> None:
    candidates = table([0.0, 1e-30, 0.0, 1e-30], items=list("abcd"))
    for seed in range(50):
        assert set(pick(candidates, 2, seed, type="power")) == {"b", "d"}
        assert len(pick(candidates, 4, seed, type="power")) == 4


def test_ties_break_by_item_then_start() -> None:
    candidates = table([1.0] * 5, items=["b", "a", "a", "c", "a"], starts=[0, 9, 10, 0, 2])
    chosen = choose(candidates, selector=Selector(), count=4, seed=0, max_overlap=0.0)
    assert list(zip(chosen.item.tolist(), chosen.start[:, 0].tolist(), strict=True)) == [
        ("a", 2),
        ("a", 9),
        ("a", 10),
        ("b", 0),
    ]


def test_one_random_group_is_a_uniform_subset() -> None:
    candidates = table([float(k) for k in range(6)], items=list("abcdef"))
    pairs = [tuple(sorted(pick(candidates, 2, seed, type="stochastic_batch", groups=1))) for seed in range(3000)]
    kinds = sorted(set(pairs))
    assert len(kinds) == 15
    assert stats.chisquare([pairs.count(kind) for kind in kinds]).pvalue > FALSE_ALARM


def test_more_groups_never_lower_the_mean_and_all_groups_find_the_best() -> None:
    candidates = table(np.random.default_rng(2).random(12).tolist())
    for seed in range(20):
        means = []
        for groups in (1, 2, 5, 20, 100):
            chosen = choose(
                candidates,
                selector=Selector(type="stochastic_batch", groups=groups),
                count=3,
                seed=seed,
                max_overlap=0.0,
            )
            means.append(chosen.score.mean())
            assert chosen.score.tolist() == sorted(chosen.score.tolist(), reverse=True)
        assert means == sorted(means)
    small = table([3.0, 1.0, 2.0, 5.0], items=list("abcd"))
    for seed in range(20):
        assert pick(small, 2, seed, type="stochastic_batch", groups=300) == ["d", "a"]


def test_a_full_group_is_preferred_to_a_short_one_with_a_higher_mean() -> None:
    """In one item of overlapping boxes, a group that starts with the middle one has room for nothing else."""
    start = np.array([[0], [1], [2]], np.int32)
    rows = Candidates(
        item=np.full(3, "a"),
        start=start,
        stop=start + 2,
        score=np.array([1.0, 9.0, 1.0]),
        stratum=np.zeros(3, np.int8),
    )
    chosen = choose(rows, selector=Selector(type="stochastic_batch", groups=50), count=2, seed=0, max_overlap=0.0)
    assert chosen.start[:, 0].tolist() == [0, 2]


@given(seed=st.integers(0, 10**6), count=st.integers(0, 40), max_overlap=st.sampled_from([0.0, 0.3, 0.6]))
@settings(deadline=None, max_examples=60)
def test_overlap_is_checked_again_within_the_batch(seed: int, count: int, max_overlap: float) -> None:
    """Rows that overlap freely, of unequal sizes, with many ties and duplicates: equal to a loop."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 300))
    start = rng.integers(0, 12, (n, 2)).astype(np.int32)
    rows = Candidates(
        item=rng.choice(["x", "yy", "z"], n),
        start=start,
        stop=(start + rng.integers(1, 5, (n, 2))).astype(np.int32),
        score=rng.integers(0, 5, n).astype(np.float64),
        stratum=np.zeros(n, np.int8),
    )
    order = sorted(range(n), key=lambda r: (-rows.score[r], str(rows.item[r]), tuple(rows.start[r]), r))
    expected: list[int] = []
    for r in order:
        same = [rows.box(q) for q in expected if rows.item[q] == rows.item[r]]
        if len(expected) < count and all(rows.box(r).overlap(box) / rows.box(r).size <= max_overlap for box in same):
            expected.append(r)
    chosen = choose(rows, selector=Selector(), count=count, seed=0, max_overlap=max_overlap)
    want = rows.take(expected)
    assert chosen.item.tolist() == want.item.tolist()
    assert chosen.start.tolist() == want.start.tolist()
    assert chosen.stop.tolist() == want.stop.tolist()


@given(count=st.integers(0, 50), parts=st.lists(st.integers(0, 100), min_size=1, max_size=9, unique=True))
def test_shares_are_even_and_add_up(count: int, parts: list[int]) -> None:
    shares = split_evenly(count, parts, seed=1, purpose="test")
    assert list(shares) == parts
    assert sum(shares.values()) == count
    assert max(shares.values()) - min(shares.values()) <= 1


def test_no_part_is_favoured_by_the_remainder() -> None:
    extra = [
        max(split_evenly(4, [7, 8, 9], seed=seed, purpose="test").items(), key=lambda kv: kv[1])[0]
        for seed in range(3000)
    ]
    assert stats.chisquare([extra.count(part) for part in (7, 8, 9)]).pvalue > FALSE_ALARM


def test_a_large_table_is_selected_like_a_small_one() -> None:
    """The partial sort takes the same rows as a full sort, however large the table and the ties."""
    rng = np.random.default_rng(5)
    scores = np.round(rng.random(20_000), 2).tolist()
    ranked = sorted(range(len(scores)), key=lambda row: (-scores[row], f"i{row:04d}"))
    expected = [f"i{row:04d}" for row in ranked[:700]]
    assert pick(table(scores), 700, 0) == expected
