"""Fusing raters: majority and STAPLE, and where STAPLE must not be asked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.metrics.fusion import fuse, majority, staple, staple_applies


def disk(radius: float, shift: float = 0.0, size: int = 40) -> NDArray[np.uint8]:
    y, x = np.mgrid[:size, :size]
    return (np.hypot(y - size / 2, x - size / 2 - shift) < radius).astype(np.uint8)


def em(decisions_RP: NDArray[np.uint8], steps: int = 400) -> tuple[NDArray, NDArray, NDArray]:
    """Warfield et al. 2004, equations 14 to 19, written out; it begins, as ITK does, at the mean of the decisions."""
    w = decisions_RP.mean(axis=0)
    prior = float(w.mean())
    for _ in range(steps):
        p = (decisions_RP * w).sum(axis=1) / w.sum()
        q = ((1 - decisions_RP) * (1 - w)).sum(axis=1) / (1 - w).sum()
        a = prior * np.prod(np.where(decisions_RP == 1, p[:, None], 1 - p[:, None]), axis=0)
        b = (1 - prior) * np.prod(np.where(decisions_RP == 0, q[:, None], 1 - q[:, None]), axis=0)
        w = a / (a + b)
    return w, p, q


def test_majority_gives_ties_to_the_earliest_rater():
    maps = [np.array(row, np.uint8) for row in ([1, 0, 255, 2], [0, 0, 2, 1], [0, 1, 2, 255], [1, 1, 255, 255])]
    assert majority(maps).tolist() == [1, 0, 2, 2]


def test_staple_equals_the_em_of_the_paper():
    masks = np.stack([disk(9), disk(10, 1), disk(8.5, -1), disk(13)])
    found = staple(masks, label=1)
    flat = masks.reshape(4, -1)
    w, p, q = em(flat)
    assert found.probability.ravel() == pytest.approx(w, abs=1e-3)
    assert found.sensitivity == pytest.approx(p, abs=1e-3)
    assert found.specificity == pytest.approx(q, abs=1e-3)


def test_staple_prefers_the_raters_that_agree():
    masks = np.stack([disk(10), disk(10), disk(10, 0.5), disk(5, 6)])
    fused, as_asked = fuse(masks, classes=2, how="staple")
    assert as_asked
    assert np.array_equal(fused, disk(10)) or np.array_equal(fused, disk(10) | disk(10, 0.5))
    assert int(np.argmin(staple(masks, label=1).sensitivity)) == 3


def test_staple_of_identical_masks_is_that_mask():
    fused, as_asked = fuse(np.stack([disk(7)] * 3), classes=2, how="staple")
    assert as_asked
    assert np.array_equal(fused, disk(7))


@pytest.mark.parametrize(
    "masks",
    [
        np.stack([disk(6), disk(9)]),
        np.stack([disk(6), disk(9), np.zeros_like(disk(6))]),
        np.stack([disk(6), disk(9), np.full_like(disk(6), 255)]),
    ],
    ids=["two raters", "an empty mask", "a silent rater"],
)
def test_staple_is_not_asked_where_it_has_no_answer(masks):
    assert not staple_applies(masks, label=1)
    with pytest.raises(InvalidValue, match="majority"):
        staple(masks, label=1)
    fused, as_asked = fuse(masks, classes=2, how="staple")
    assert not as_asked
    assert np.array_equal(fused, majority(list(masks)))


def test_empty_masks_fuse_to_an_empty_one():
    fused, as_asked = fuse(np.zeros((4, 5, 5), np.uint8), classes=2, how="staple")
    assert as_asked
    assert not fused.any()


def test_classes_are_fused_one_against_the_rest():
    one, two = np.stack([disk(9), disk(10), disk(9, 1)]), np.stack([disk(4), disk(4), disk(5)])
    masks = np.where(two == 1, 2, one).astype(np.uint8)
    fused, as_asked = fuse(masks, classes=3, how="staple")
    assert as_asked
    assert set(np.unique(fused)) == {0, 1, 2}
    assert fused[20, 20] == 2
    assert fused[20, 27] == 1


def test_volumes_fuse_too():
    masks = np.stack([np.stack([disk(r)] * 3) for r in (8, 9, 10)])
    assert fuse(masks, classes=2, how="staple")[0].shape == (3, 40, 40)


def test_an_unknown_way_is_named():
    with pytest.raises(InvalidValue, match="majority or staple"):
        fuse(np.zeros((3, 2, 2), np.uint8), classes=2, how="votes")
