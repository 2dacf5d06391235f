"""Moments are a commutative monoid and equal the sums written out over the whole stack."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp
from scipy.stats import entropy as scipy_entropy

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import Moments
from alframe.strategies import moments as mo

SHAPE = (3, 5)
CLASSES = 4


def stack(seed: int, passes: int, scale: float = 3.0) -> np.ndarray:
    """Log-softmaxes (M, C, S)."""
    return log_softmax(np.random.default_rng(seed).normal(scale=scale, size=(passes, CLASSES, *SHAPE)), axis=1)


def of(passes: np.ndarray) -> Moments:
    total = mo.empty(CLASSES, SHAPE, votes=True, log=True)
    for log_p in passes:
        total = mo.add(total, log_p)
    return total


def arrays(m: Moments) -> list[np.ndarray]:
    assert m.votes is not None
    assert m.log_probability is not None
    return [m.probability, m.entropy, m.votes, m.log_probability]


def close(a: Moments, b: Moments) -> bool:
    return a.count == b.count and all(
        np.allclose(x, y, rtol=1e-13, atol=1e-13) for x, y in zip(arrays(a), arrays(b), strict=True)
    )


def equal(a: Moments, b: Moments) -> bool:
    return a.count == b.count and all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


def test_sums_equal_their_definitions() -> None:
    passes = stack(0, 7)
    m, p = of(passes), np.exp(stack(0, 7))
    np.testing.assert_allclose(m.probability, p.sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(m.entropy, scipy_entropy(p, axis=1).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(m.log_probability, logsumexp(passes, axis=0), rtol=1e-12, atol=1e-13)
    for index in np.ndindex(*SHAPE):
        winners = [int(p[(m_index, slice(None), *index)].argmax()) for m_index in range(7)]
        assert m.votes is not None
        assert m.votes[(slice(None), *index)].tolist() == [winners.count(c) for c in range(CLASSES)]
    np.testing.assert_allclose(mo.mean(m), p.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(mo.log_mean(m), np.log(p.mean(axis=0)), rtol=1e-12, atol=1e-13)


@given(seed=st.integers(0, 10**6), shards=st.lists(st.integers(0, 4), min_size=1, max_size=6), order=st.randoms())
@settings(deadline=None, max_examples=60)
def test_any_sharding_and_any_order_give_the_same(seed: int, shards: list[int], order: object) -> None:
    passes = stack(seed, sum(shards))
    parts = [of(part) for part in np.split(passes, np.cumsum(shards)[:-1])]
    order.shuffle(parts)  # type: ignore[attr-defined]
    while len(parts) > 1:
        at = order.randrange(len(parts) - 1)  # type: ignore[attr-defined]
        parts[at : at + 2] = [mo.merge(parts[at], parts[at + 1])]
    assert close(parts[0], of(passes))


@given(
    seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)), sizes=st.tuples(st.integers(0, 4), st.integers(0, 4))
)
@settings(deadline=None, max_examples=40)
def test_merge_commutes_bit_for_bit_and_empty_is_neutral(seeds: tuple[int, int], sizes: tuple[int, int]) -> None:
    a, b = (of(stack(seed, size)) for seed, size in zip(seeds, sizes, strict=True))
    assert equal(mo.merge(a, b), mo.merge(b, a))
    neutral = mo.empty(CLASSES, SHAPE, votes=True, log=True)
    assert equal(mo.merge(a, neutral), a)
    assert equal(mo.merge(neutral, a), a)


def test_the_log_mean_survives_where_the_mean_underflows() -> None:
    log_p = np.full((2, 1, 1), -2000.0)
    log_p[0] = 0.0
    m = mo.add(mo.empty(2, (1, 1), log=True), log_p)
    assert mo.mean(m)[1, 0, 0] == 0.0
    assert mo.log_mean(m)[1, 0, 0] == -2000.0
    assert m.entropy[0, 0] == 0.0


def test_a_probability_of_zero_is_allowed() -> None:
    log_p = np.array([0.0, -np.inf]).reshape(2, 1)
    m = mo.add(mo.empty(2, (1,), votes=True, log=True), log_p)
    mo.check_finite(m, item="a")
    assert m.entropy.tolist() == [0.0]
    assert mo.log_mean(m)[:, 0].tolist() == [0.0, -np.inf]


def test_half_precision_is_summed_in_double() -> None:
    log_p = stack(3, 1)[0].astype(np.float16)
    m = mo.add(mo.empty(CLASSES, SHAPE), log_p)
    assert m.probability.dtype == np.float64
    np.testing.assert_array_equal(m.probability, np.exp(log_p.astype(np.float64)))


def test_logits_are_refused() -> None:
    with pytest.raises(InvalidValue, match="log_softmax"):
        mo.add(mo.empty(2, (1,)), np.array([[3.0], [1.0]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    log_p = stack(1, 1)[0]
    log_p[0, 0, 0] = bad
    with pytest.raises(NonFiniteError):
        mo.add(mo.empty(CLASSES, SHAPE), log_p)


@pytest.mark.parametrize("name", ["probability", "entropy", "votes", "log_probability"])
def test_check_finite_names_item_and_sum(name: str) -> None:
    m = of(stack(1, 2))
    mo.check_finite(m, item="slide 7")
    broken = getattr(m, name).copy()
    broken.flat[0] = np.nan
    with pytest.raises(NonFiniteError, match=f"slide 7.*{name.replace('_', '-')}"):
        mo.check_finite(replace(m, **{name: broken}), item="slide 7")


def test_what_does_not_belong_together_is_refused() -> None:
    a = mo.empty(CLASSES, SHAPE)
    with pytest.raises(InvalidValue, match="shape"):
        mo.merge(a, mo.empty(CLASSES, (3, 6)))
    with pytest.raises(InvalidValue, match="votes"):
        mo.merge(a, mo.empty(CLASSES, SHAPE, votes=True))
    with pytest.raises(InvalidValue, match="log"):
        mo.merge(a, mo.empty(CLASSES, SHAPE, log=True))
    with pytest.raises(InvalidValue, match="shape"):
        mo.add(a, stack(0, 1)[0, :, :2])
    with pytest.raises(InvalidValue, match="2 classes"):
        mo.empty(1, SHAPE)
    with pytest.raises(InvalidValue, match="no prediction"):
        mo.mean(a)
    with pytest.raises(InvalidValue, match="log=True"):
        mo.log_mean(mo.add(a, stack(0, 1)[0]))
