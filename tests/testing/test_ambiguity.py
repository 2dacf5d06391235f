"""Known ambiguity through a predictor: what belongs to raters is not called epistemic, and what does not is found again."""

from __future__ import annotations

import numpy as np
import pytest

from alframe.errors import InvalidValue
from alframe.ports import Moments
from alframe.strategies import measures
from alframe.strategies import moments as moment
from alframe.testing.ambiguity import AmbiguousItem, KnowingPredictor, ambiguous
from alframe.types import UNANNOTATED

ITEMS = ambiguous(24, size=16, seed=3)


def parts(found: list[Moments]) -> tuple[float, float]:
    """Epistemic and total variance, summed over all pixels of all items."""
    return (
        sum(float(measures.epistemic(one).sum()) for one in found),
        sum(float(measures.total_variance(one).sum()) for one in found),
    )


def nested(predictor: KnowingPredictor) -> list[Moments]:
    return [predictor.predict(item.image, seed=n, spread=True).moments for n, item in enumerate(ITEMS)]


def flattened(predictor: KnowingPredictor) -> list[Moments]:
    """The mistake of taking every pair of weights and code for a draw of the weights."""
    found = []
    for n, item in enumerate(ITEMS):
        total = moment.empty(2, item.image.shape[1:], spread=True)
        for log_p in np.concatenate(predictor.groups(item.image, n)):
            total = moment.add(total, log_p)
        found.append(total)
    return found


def no_epistemic_part(found: list[Moments]) -> bool:
    epistemic, total = parts(found)
    return abs(epistemic) <= 0.01 * total


def epistemic_part_recovered(found: list[Moments], predictor: KnowingPredictor) -> bool:
    truth = sum(float(predictor.epistemic(item.image).sum()) for item in ITEMS)
    return abs(parts(found)[0] - truth) <= 0.1 * truth


def test_ambiguity_alone_has_no_epistemic_part() -> None:
    predictor = KnowingPredictor(draws=12, latents=25)
    assert no_epistemic_part(nested(predictor))


def test_a_known_epistemic_part_is_recovered() -> None:
    predictor = KnowingPredictor(doubt=0.25, draws=40, latents=20)
    assert epistemic_part_recovered(nested(predictor), predictor)


def test_a_flattened_decomposition_fails_both_tests() -> None:
    sure, unsure = KnowingPredictor(draws=12, latents=25), KnowingPredictor(doubt=0.25, draws=12, latents=25)
    assert not no_epistemic_part(flattened(sure))
    assert not epistemic_part_recovered(flattened(unsure), unsure)


def test_without_taking_off_the_noise_few_codes_look_like_doubt() -> None:
    """Nesting alone is not enough: the mean over 5 codes still moves, which the noise term accounts for."""
    found = nested(KnowingPredictor(draws=40, latents=5))
    assert no_epistemic_part(found)
    naive = [moment.empty(2, one.entropy.shape, spread=True) for one in found]
    for n, item in enumerate(ITEMS):
        for group in KnowingPredictor(draws=40, latents=5).groups(item.image, n):
            mean = np.logaddexp.reduce(group, axis=0) - np.log(len(group))
            naive[n] = moment.add(naive[n], mean)
    assert not no_epistemic_part(naive)


def test_the_aleatoric_part_is_the_raters_variance() -> None:
    found = nested(KnowingPredictor(doubt=0.2, draws=12, latents=30))
    expected = sum(float((4 * item.chance * (1 - item.chance)).sum()) for item in ITEMS)
    aleatoric = sum(float(measures.aleatoric(one).sum()) for one in found)
    predictor = KnowingPredictor(doubt=0.2)
    doubt = sum(float(predictor.epistemic(item.image).sum()) for item in ITEMS)
    assert aleatoric == pytest.approx(expected - doubt, rel=0.03)


def test_samples_are_whole_segmentations() -> None:
    item = ITEMS[0]
    drawn = KnowingPredictor().samples(item.image, count=200, seed=1)
    assert drawn.shape == (200, 2, 16, 16)
    halo = (item.chance > 0) & (item.chance < 1)
    inside = drawn[:, 1, halo]
    assert ((inside == 0).all(1) | (inside == 1).all(1)).all()
    assert inside[:, 0].mean() == pytest.approx(float(item.chance[halo][0]), abs=0.1)


def test_raters_draw_by_the_chance_and_the_same_seed_draws_the_same() -> None:
    (item,) = ambiguous(1, raters=400, seed=5)
    share = np.mean([mask.classes for mask in item.masks.values()], axis=0)
    np.testing.assert_allclose(share, item.chance, atol=0.08)
    assert not any((mask.classes == UNANNOTATED).any() for mask in item.masks.values())
    again = ambiguous(2, raters=400, seed=5)[0]
    assert isinstance(again, AmbiguousItem)
    np.testing.assert_array_equal(again.image, item.image)
    assert all((again.masks[r].classes == item.masks[r].classes).all() for r in item.masks)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidValue, match="doubt"):
        KnowingPredictor(doubt=0.4)
    with pytest.raises(InvalidValue, match="latents"):
        KnowingPredictor(latents=1)
    with pytest.raises(InvalidValue, match="size"):
        ambiguous(1, size=8)
    with pytest.raises(InvalidValue, match="sample"):
        KnowingPredictor().samples(ITEMS[0].image, count=0, seed=1)
