"""Synthetic data that raters must disagree about, by a known chance, and a predictor that knows it: to test decompositions.

Each picture shows a bright core, which every rater draws, in a grey halo, which a rater draws whole or not at all: with a chance
that the brightness of the halo tells. So the variance of labels is known at every pixel, and none of it can be learned away.

Legend: ``C`` classes (2), ``K`` latent draws, ``S`` space (Y X).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.ports import Moments, Prediction
from alframe.seeding import derive, generator
from alframe.strategies import moments as moment
from alframe.types import LabelMap

__all__ = ["AmbiguousItem", "KnowingPredictor", "ambiguous"]

GROUND, CORE = 20, 240
HALO_DARK, HALO_BRIGHT = 60, 180
CHANCES = (0.3, 0.7)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AmbiguousItem:
    """One picture: `image` (1, S; uint8), each rater's mask, and the `chance` (S) that a rater draws a pixel."""

    id: str
    image: NDArray[np.uint8]
    masks: Mapping[str, LabelMap]
    chance: NDArray[np.float64]


def ambiguous(count: int, *, size: int = 32, raters: int = 4, seed: int = 0) -> tuple[AmbiguousItem, ...]:
    """`count` pictures (1, size, size) drawn by `raters`, each from ``(seed, number)`` alone.

    Raises:
        InvalidValue: when there is nothing to draw, nobody to draw it, or the picture is smaller than 16 pixels.
    """
    if min(count, raters) < 1 or size < 16:
        raise InvalidValue(f"needs count and raters >= 1 and size >= 16, got {count}, {raters} and {size}")
    return tuple(_item(number, size, raters, seed) for number in range(count))


def _item(number: int, size: int, raters: int, seed: int) -> AmbiguousItem:
    rng = generator("ambiguous", seed, number)
    centre = rng.uniform(0.4 * size, 0.6 * size, 2)
    grid = np.indices((size, size))
    distance = np.hypot(grid[0] - centre[0], grid[1] - centre[1])
    core, halo = distance < 0.15 * size, distance < rng.uniform(0.28, 0.36) * size
    image = np.full((size, size), GROUND, np.uint8)
    brightness = int(np.rint(_brightness(rng.uniform(*CHANCES))))
    image[halo], image[core] = brightness, CORE
    chance = _chance(image)
    masks = {
        f"rater{r}": LabelMap(classes=(core | (halo & (rng.random() < chance[halo & ~core][0]))).astype(np.uint8))
        for r in range(raters)
    }
    return AmbiguousItem(id=f"ambiguous{number:04d}", image=image[None], masks=masks, chance=chance)


def _brightness(chance: float) -> float:
    low, high = CHANCES
    return HALO_DARK + (HALO_BRIGHT - HALO_DARK) * (chance - low) / (high - low)


def _chance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The chance (S) that a rater draws a pixel, read off the picture (S)."""
    low, high = CHANCES
    halo = low + (high - low) * (image.astype(np.float64) - HALO_DARK) / (HALO_BRIGHT - HALO_DARK)
    return np.select([image == CORE, image == GROUND], [1.0, 0.0], halo)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowingPredictor:
    """A :class:`~alframe.ports.Predictor` that knows how raters draw, and is unsure of their chance by a known amount.

    Each of `draws` draws of its "weights" moves the chance of the halo by an amount uniform within ± `doubt`, whose variance
    doubt² / 3 is the epistemic variance of p; under each, `latents` codes say whether the halo is drawn, all of it or none.

    Raises:
        InvalidValue: when a field is out of range; chances must stay chances.
    """

    doubt: float = 0.0
    draws: int = 16
    latents: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.doubt <= CHANCES[0]:
            raise InvalidValue(f"doubt must be 0 to {CHANCES[0]}, got {self.doubt}")
        if self.draws < 1 or self.latents < 2:
            raise InvalidValue(f"needs draws >= 1 and latents >= 2, got {self.draws} and {self.latents}")

    def epistemic(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """The true variance of p over the weights, scaled as by the measure `epistemic` (S): 4 · doubt² / 3 in the halo."""
        chance = _chance(np.asarray(image[0]))
        return np.where((chance > 0) & (chance < 1), 4 * self.doubt**2 / 3, 0.0)

    def groups(self, image: NDArray[Any], seed: int) -> list[NDArray[np.float64]]:
        """Log-probabilities (K, C, S) of 0 or −inf, a group for each draw of the weights."""
        return [
            np.stack([self._draw(image, derive(seed, s), derive(seed, s, k)) for k in range(self.latents)])
            for s in range(self.draws)
        ]

    def _draw(self, image: NDArray[Any], weights: int, latent: int) -> NDArray[np.float64]:
        """One segmentation (C, S) as log-probabilities."""
        chance = _chance(np.asarray(image[0]))
        moved = chance + generator(weights, "weights").uniform(-self.doubt, self.doubt)
        inside = (chance == 1) | ((chance > 0) & (generator(latent, "latent").random() < moved))
        with np.errstate(divide="ignore"):
            log_p: NDArray[np.float64] = np.log(np.stack([~inside, inside]).astype(np.float64))
        return log_p

    def predict(
        self,
        image: NDArray[Any],
        *,
        spacing: Sequence[float] = (),
        seed: int,
        votes: bool = False,
        log: bool = False,
        spread: bool = False,
    ) -> Prediction:
        """The nested moments of a picture (1, S)."""
        moments: Moments = moment.empty(2, image.shape[1:], votes=votes, log=log, spread=spread)
        for group in self.groups(image, seed):
            moments = moment.add_group(moments, group)
        return Prediction(moments=moments)

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """`count` segmentations (N, C, S), weights and code drawn anew for each. Raises InvalidValue when `count` is below 1."""
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        drawn = [self._draw(image, derive(seed, "sample", n), derive(seed, "code", n)) for n in range(count)]
        return np.exp(np.stack(drawn)).astype(np.float32)
