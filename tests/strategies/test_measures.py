"""Measures against loops over pixels and passes, scipy, and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import entropy as scipy_entropy
from scipy.stats import mode

from alframe.errors import InvalidValue
from alframe.ports import Moments
from alframe.strategies import moments as mo
from alframe.strategies.measures import MEASURES, bald, class_entropy, entropy, predicted, var_ratio, vote_ratio


def stack(seed: int, passes: int, classes: int, shape: tuple[int, ...], scale: float = 2.0) -> np.ndarray:
    return np.exp(log_softmax(np.random.default_rng(seed).normal(scale=scale, size=(passes, classes, *shape)), axis=1))


def of(p: np.ndarray) -> Moments:
    total = mo.empty(p.shape[1], p.shape[2:], votes=True)
    with np.errstate(divide="ignore"):
        for log_p in np.log(p):
            total = mo.add(total, log_p)
    return total


def brute(name: str, p_MC: np.ndarray) -> float:
    """One pixel, plain Python."""
    passes, classes = p_MC.shape
    mean = [sum(p_MC[m][c] for m in range(passes)) / passes for c in range(classes)]

    def h(p: list[float]) -> float:
        return -sum(q * math.log(q) for q in p if q > 0)

    if name == "var_ratio":
        return 1 - max(mean)
    if name == "entropy":
        return h(mean)
    if name == "bald":
        return h(mean) - sum(h(list(p)) for p in p_MC) / passes
    winners = [max(range(classes), key=lambda c: (p[c], -c)) for p in p_MC]
    return 1 - max(winners.count(c) for c in range(classes)) / passes


@pytest.mark.parametrize("name", ["var_ratio", "vote_ratio", "entropy", "bald"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)])
@given(
    seed=st.integers(0, 10**6),
    passes=st.integers(1, 6),
    classes=st.integers(2, 5),
    scale=st.sampled_from([0.1, 2.0, 30.0]),
)
@settings(deadline=None, max_examples=15)
def test_equals_brute_force(
    name: str, shape: tuple[int, ...], seed: int, passes: int, classes: int, scale: float
) -> None:
    p = stack(seed, passes, classes, shape, scale)
    got = MEASURES[name].function(of(p))  # type: ignore[index]
    assert got.shape == shape
    for index in np.ndindex(*shape):
        assert got[index] == pytest.approx(brute(name, p[(..., *index)]), abs=1e-12)


def test_agrees_with_scipy() -> None:
    p = stack(1, 9, 4, (6, 7))
    m = of(p)
    predictive = scipy_entropy(p.mean(axis=0), axis=0)
    np.testing.assert_allclose(entropy(m), predictive, atol=1e-12)
    np.testing.assert_allclose(bald(m), predictive - scipy_entropy(p, axis=1).mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(vote_ratio(m), 1 - mode(p.argmax(axis=1), axis=0).count / 9, atol=1e-12)
    # BALD is also the mean Kullback-Leibler divergence of the passes from their mean
    divergence = scipy_entropy(p, np.broadcast_to(p.mean(axis=0), p.shape), axis=1).mean(axis=0)
    np.testing.assert_allclose(bald(m), divergence, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_uniform_passes_are_uncertain_but_agree(classes: int) -> None:
    m = of(np.full((5, classes, 2, 2), 1 / classes))
    np.testing.assert_allclose(entropy(m), math.log(classes), rtol=1e-14)
    np.testing.assert_allclose(var_ratio(m), 1 - 1 / classes, rtol=1e-14)
    np.testing.assert_allclose(bald(m), 0, atol=1e-14)
    assert (vote_ratio(m) == 0).all()


def test_confident_passes_that_disagree_have_all_their_entropy_as_bald() -> None:
    p = np.zeros((4, 2, 1))
    p[:3, 0] = p[3:, 1] = 1.0
    m = of(p)
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    for measure in (entropy, bald):
        np.testing.assert_allclose(measure(m), expected, rtol=1e-14)
    assert var_ratio(m).tolist() == [0.25]
    assert vote_ratio(m).tolist() == [0.25]


def test_bald_ranks_as_the_mutual_information_not_as_the_papers_equation() -> None:
    """The equation without 1/M would prefer confident pixels; a pixel of confident disagreement must win."""
    agree = np.tile(np.array([[0.5, 0.5]]), (10, 1))
    disagree = np.tile(np.array([[0.99, 0.01], [0.01, 0.99]]), (5, 1))
    certain = np.tile(np.array([[0.999, 0.001]]), (10, 1))
    values = bald(of(np.stack([agree, disagree, certain], axis=-1)))
    assert values.argmax() == 1
    np.testing.assert_allclose(values[[0, 2]], 0, atol=1e-12)


def test_bald_of_float32_sums_is_never_negative() -> None:
    p = np.tile(stack(2, 1, 3, (50, 50)), (20, 1, 1, 1))
    m = of(p)
    coarse = Moments(
        count=20, probability=m.probability.astype(np.float32), entropy=m.entropy.astype(np.float32), votes=m.votes
    )
    assert (bald(coarse) >= 0).all()
    np.testing.assert_allclose(bald(coarse), 0, atol=1e-5)
    assert all(m.function(coarse).dtype == np.float64 for m in MEASURES.values() if not m.spread)


def test_class_entropies_sum_to_the_entropy_and_follow_their_definition() -> None:
    p = stack(3, 4, 3, (5, 4))
    parts = class_entropy(of(p))
    mean = p.mean(axis=0)
    np.testing.assert_allclose(parts.sum(axis=0), scipy_entropy(mean, axis=0), atol=1e-12)
    np.testing.assert_allclose(parts[2], scipy_entropy(mean, axis=0) * mean[2], atol=1e-12)


def test_the_predicted_class_is_the_lowest_of_a_tie() -> None:
    assert predicted(of(np.array([[[0.4], [0.4], [0.2]]]))).tolist() == [0]


def test_vote_ratio_without_votes_is_refused() -> None:
    with pytest.raises(InvalidValue, match="votes=True"):
        vote_ratio(mo.empty(2, (1,)))
    with pytest.raises(InvalidValue, match="no prediction"):
        vote_ratio(mo.empty(2, (1,), votes=True))
