"""Test-time augmentation: any learner's predictions of mirrored, turned and noisy views of an image, merged.

Wang et al. 2019 (arXiv 1807.07356). Legend: ``C`` channels or classes, ``S`` space ``(Z) Y X``. Mirroring and quarter turns move
pixels and change none, so undoing them is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.ports import Checkpoint, FitTask, Learner, Moments, Prediction, Predictor
from alframe.seeding import derive, generator
from alframe.strategies import moments as moment
from alframe.types import Compute

__all__ = ["TestTimeAugmentation", "View"]

QUARTERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A way to look at an image: mirrored along `flips` (axes counted from the last), then turned by `turns` quarters in Y X."""

    flips: tuple[int, ...] = ()
    turns: int = 0

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """The view of an array whose last axes are spatial."""
        return np.rot90(np.flip(array, self.flips), self.turns, (-2, -1))

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array of which this is the view."""
        return np.flip(np.rot90(array, -self.turns, (-2, -1)), self.flips)

    def spacing(self, spacing: Sequence[float]) -> tuple[float, ...]:
        """The spacing of the view's axes."""
        *outer, y, x = spacing
        return (*outer, x, y) if self.turns % 2 else (*outer, y, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTimeAugmentation:
    """A :class:`~alframe.ports.Learner` that trains as `learner` does and predicts several views of an image with it.

    The views are all different ones that mirror along `flip_axes` (spatial axes counted from the last: −1 = X, −2 = Y,
    −3 = Z) and, with `quarter_turns`, turn the Y X plane. Each is predicted `copies` times with Gaussian noise of standard
    deviation `noise`, in units of the channel's own over the image (0 = none, then one copy is enough). What is
    predicted of a view is turned back and added to the moments of the others: a view counts as a pass, so BALD and
    `epistemic` speak of the disagreement between views too.

    Raises:
        InvalidValue: when a field is out of range.
    """

    __test__ = False  # no test, whatever pytest thinks of its name

    learner: Learner
    flip_axes: tuple[int, ...] = (-2, -1)
    quarter_turns: bool = False
    noise: float = 0.0
    copies: int = 1

    def __post_init__(self) -> None:
        if len(set(self.flip_axes)) != len(self.flip_axes) or not set(self.flip_axes) <= {-1, -2, -3}:
            raise InvalidValue(f"tta: flip_axes may hold -1 (X), -2 (Y) and -3 (Z), each once, got {self.flip_axes}")
        if not self.noise >= 0:
            raise InvalidValue(f"tta: noise must not be negative, got {self.noise}")
        if self.copies < 1 or (self.copies > 1 and self.noise == 0):
            raise InvalidValue(f"tta: copies must be at least 1, and more need noise above 0, got {self.copies}")

    @property
    def members(self) -> int:
        """Those of the inner learner."""
        return self.learner.members

    @property
    def restarts(self) -> int:
        """Those of the inner learner."""
        return self.learner.restarts

    @property
    def warm_start(self) -> bool:
        """As the inner learner."""
        return self.learner.warm_start

    def views(self, axes: int) -> tuple[View, ...]:
        """The different views of an image with `axes` spatial axes, the image itself first."""
        along = [axis for axis in self.flip_axes if -axis <= axes]
        probe = np.arange(3**axes).reshape((3,) * axes)
        found: dict[bytes, View] = {}
        for turns in range(QUARTERS if self.quarter_turns else 1):
            for count in range(len(along) + 1):
                for flips in itertools.combinations(along, count):
                    view = View(flips=flips, turns=turns)
                    found.setdefault(view.apply(probe).tobytes(), view)
        return tuple(found.values())

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train as the inner learner; see :meth:`alframe.ports.Learner.fit`. Raises: as that."""
        return self.learner.fit(task, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """The inner learner's predictor behind views. Raises: as that."""
        return ViewsPredictor(self.learner.predictor(checkpoints, compute), self)


class ViewsPredictor:
    """The :class:`~alframe.ports.Predictor` that asks another one about each view. As safe to share as that one."""

    def __init__(self, inner: Predictor, settings: TestTimeAugmentation) -> None:
        self._inner, self._settings = inner, settings

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
        """Predict a whole image (C, S); see :meth:`alframe.ports.Predictor.predict`. Raises: as the inner predictor."""
        total: Moments | None = None
        contours: list[NDArray[np.float32]] = []
        for view, seen, own in self._views(image, seed):
            said = self._inner.predict(
                seen,
                spacing=view.spacing(spacing) if spacing else (),
                seed=own,
                votes=votes,
                log=log,
                spread=spread,
            )
            turned = _undone(said.moments, view)
            total = turned if total is None else moment.merge(total, turned)
            contours += [] if said.contour is None else [view.undo(said.contour)]
        assert total is not None
        if not contours:
            return Prediction(moments=total)
        contour: NDArray[np.float32] = np.stack(contours).mean(axis=0, dtype=np.float64).astype(np.float32)
        return Prediction(moments=total, contour=contour)

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """The inner predictor's samples of the views, shared out evenly, the image itself first; at most `count`.

        Raises: as the inner predictor, and InvalidValue when `count` is below 1.
        """
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        views = list(self._views(image, seed))[:count]
        shares = [count // len(views) + (number < count % len(views)) for number in range(len(views))]
        drawn = [
            view.undo(
                self._inner.samples(seen, count=share, seed=own, spacing=view.spacing(spacing) if spacing else ())
            )
            for (view, seen, own), share in zip(views, shares, strict=True)
        ]
        return np.concatenate(drawn)

    def _views(self, image: NDArray[Any], seed: int) -> Iterator[tuple[View, NDArray[Any], int]]:
        """Each view, what it shows, and the seed of its prediction."""
        settings = self._settings
        for number, view in enumerate(settings.views(image.ndim - 1)):
            for copy in range(settings.copies):
                own = derive(seed, "view", number, copy)
                shown = image if settings.noise == 0 else _noisy(image, settings.noise, derive(own, "noise"))
                yield view, np.ascontiguousarray(view.apply(shown)), own


def _noisy(image: NDArray[Any], noise: float, seed: int) -> NDArray[Any]:
    """The image with noise, in its own dtype (integers are rounded, and stay within their range)."""
    scale = noise * image.reshape(len(image), -1).std(axis=1, dtype=np.float64)
    scale = scale[(slice(None), *(None,) * (image.ndim - 1))]
    changed = image + scale * generator(seed).standard_normal(image.shape)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        changed = np.clip(np.rint(changed), limits.min, limits.max)
    found: NDArray[Any] = changed.astype(image.dtype)
    return found


def _undone(moments: Moments, view: View) -> Moments:
    """The moments of the image from those of its view."""

    def undo(sums: NDArray[np.floating[Any]] | None) -> NDArray[np.floating[Any]] | None:
        return None if sums is None else view.undo(sums)

    return Moments(
        count=moments.count,
        probability=view.undo(moments.probability),
        entropy=view.undo(moments.entropy),
        votes=undo(moments.votes),
        log_probability=undo(moments.log_probability),
        squares=undo(moments.squares),
        noise=undo(moments.noise),
        disagreement=undo(moments.disagreement),
    )
