"""The variances of moments against loops, an analysis of variance, and a generator whose two parts are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import f_oneway

from alframe.errors import InvalidValue
from alframe.ports import Moments
from alframe.strategies import moments as mo
from alframe.strategies.measures import (
    aleatoric,
    bald,
    epistemic,
    epistemic_discounted,
    rater_disagreement,
    total_variance,
)


def nested(p_MKCS: np.ndarray) -> Moments:
    """Moments of weight draws with latent draws inside."""
    total = mo.empty(p_MKCS.shape[2], p_MKCS.shape[3:], spread=True)
    with np.errstate(divide="ignore"):
        for log_p in np.log(p_MKCS):
            total = mo.add_group(total, log_p)
    return total


def flattened(p_MKCS: np.ndarray) -> Moments:
    """The mistake: every (weights, latent) pair is taken for a draw of the weights."""
    total = mo.empty(p_MKCS.shape[2], p_MKCS.shape[3:], spread=True)
    with np.errstate(divide="ignore"):
        for log_p in np.log(p_MKCS.reshape(-1, *p_MKCS.shape[2:])):
            total = mo.add(total, log_p)
    return total


def softmaxes(seed: int, shape: tuple[int, ...], scale: float = 2.0) -> np.ndarray:
    return np.exp(log_softmax(np.random.default_rng(seed).normal(scale=scale, size=shape), axis=2))


@given(seed=st.integers(0, 10**6), draws=st.integers(2, 5), latent=st.integers(2, 6), classes=st.integers(2, 4))
@settings(deadline=None, max_examples=30)
def test_equals_brute_force(seed: int, draws: int, latent: int, classes: int) -> None:
    p = softmaxes(seed, (draws, latent, classes, 3, 2))
    m = nested(p)
    for index in np.ndindex(3, 2):
        total = ep = 0.0
        for c in range(classes):
            values = p[(slice(None), slice(None), c, *index)]
            group = [sum(row) / latent for row in values]
            centre = sum(group) / draws
            between = sum((g - centre) ** 2 for g in group) / (draws - 1)
            within = [sum((v - g) ** 2 for v in row) / (latent - 1) for row, g in zip(values, group, strict=True)]
            ep += between - sum(within) / draws / latent
            total += centre * (1 - centre)
        scale = classes / (classes - 1)
        assert epistemic(m)[index] == pytest.approx(scale * ep, abs=1e-12)
        assert total_variance(m)[index] == pytest.approx(scale * total, abs=1e-12)
        assert aleatoric(m)[index] == pytest.approx(scale * (total - ep), abs=1e-12)


def test_agrees_with_scipys_analysis_of_variance() -> None:
    """With F = MS_between / MS_within the random-effects estimate is MS_within (F − 1) / K."""
    p = softmaxes(4, (6, 5, 2, 1))
    foreground = p[:, :, 1, 0]
    f = f_oneway(*foreground).statistic
    within = foreground.var(axis=1, ddof=1).mean()
    np.testing.assert_allclose(epistemic(nested(p))[0], 4 * within * (f - 1) / 5, rtol=1e-10)


def ambiguous(seed: int, *, draws: int, latent: int, pixels: int, share: float, spread: float) -> np.ndarray:
    """(M, K, 2, S): raters say 1 with probability `share` (a latent code is a rater); the weights move it by `spread`."""
    rng = np.random.default_rng(seed)
    moved = share + spread * rng.standard_normal((draws, 1, pixels)).clip(-3, 3)
    says = (rng.random((draws, latent, pixels)) < moved).astype(float)
    return np.stack([1 - says, says], axis=2)


def test_ambiguity_alone_is_not_called_epistemic() -> None:
    p = ambiguous(1, draws=10, latent=20, pixels=4000, share=0.3, spread=0.0)
    m = nested(p)
    assert abs(epistemic(m).mean()) <= 0.01 * total_variance(m).mean()
    assert rater_disagreement(m).mean() == pytest.approx(4 * 0.3 * 0.7, rel=0.02)
    assert epistemic(flattened(p)).mean() > 0.5 * total_variance(m).mean()


def test_known_epistemic_variance_is_recovered() -> None:
    p = ambiguous(2, draws=10, latent=20, pixels=4000, share=0.5, spread=0.1)
    truth = 4 * np.random.default_rng(0).standard_normal(10**6).clip(-3, 3).var() * 0.1**2
    assert epistemic(nested(p)).mean() == pytest.approx(truth, rel=0.1)
    assert epistemic(flattened(p)).mean() > 5 * truth


def test_bald_is_over_the_weights_not_over_the_latent_codes() -> None:
    p = ambiguous(3, draws=8, latent=50, pixels=500, share=0.5, spread=0.0)
    assert bald(nested(p)).mean() < 0.02
    assert bald(flattened(p)).mean() > 0.6


def test_the_discount_lowers_what_raters_disagree_on() -> None:
    p = softmaxes(5, (4, 2, 3, 6))
    m = nested(p)
    for discount in (0.0, 0.5, 2.0):
        expected = epistemic(m) + discount * (1 - rater_disagreement(m))
        np.testing.assert_allclose(epistemic_discounted(m, discount), expected, atol=1e-14)
    sure = mo.add(mo.empty(2, (1,), spread=True, disagreement=True), np.log([[0.5], [0.5]]), disagreement=np.ones(1))
    sure = mo.merge(sure, sure)
    assert rater_disagreement(sure).tolist() == [1.0]
    np.testing.assert_allclose(epistemic_discounted(sure, 3.0), epistemic(sure))


@given(seed=st.integers(0, 10**6), sizes=st.tuples(st.integers(0, 3), st.integers(0, 3)))
@settings(deadline=None, max_examples=25)
def test_the_optional_sums_merge(seed: int, sizes: tuple[int, int]) -> None:
    p = softmaxes(seed, (sum(sizes), 3, 2, 4))
    a, b = (nested(part) for part in np.split(p, [sizes[0]]))
    whole, merged = nested(p), mo.merge(b, a)
    assert merged.count == whole.count
    for name in ("squares", "noise"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-12, atol=1e-14)


def test_what_cannot_be_known_is_refused() -> None:
    one = mo.add(mo.empty(2, (1,), spread=True), np.log([[0.5], [0.5]]))
    with pytest.raises(InvalidValue, match="at least 2"):
        epistemic(one)
    with pytest.raises(InvalidValue, match="spread=True"):
        epistemic(mo.empty(2, (1,)))
    with pytest.raises(InvalidValue, match="latent"):
        mo.add_group(mo.empty(2, (1,), spread=True), np.log([[[0.5], [0.5]]]))
    with pytest.raises(InvalidValue, match="squares"):
        mo.merge(one, mo.empty(2, (1,)))
