"""Faults 6, 9 and 19: a member's process killed, memory that never suffices, losses and scores that are no numbers."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alframe import failpoints
from alframe.ports import Checkpoint, FitTask, Moments, Prediction, Predictor
from alframe.testing.faults.lab import Lab, ledger_rows
from alframe.testing.faults.model import Fault, Outcome
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Compute

__all__ = ["WORKERS"]

STANDS = "SELECT status, reason FROM campaigns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dying(PixelLearner):
    """Member 1's process is killed in its first `times` fits; every fit is noted in `folder`."""

    folder: str
    times: int

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Fit, or die."""
        place = Path(self.folder)
        before = len(list(place.glob(f"fit-{task.member}-*")))
        (place / f"fit-{task.member}-{before}").touch()
        if task.member == 1 and before < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return PixelLearner.fit(self, task, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy(PixelLearner):
    """Asks for more memory than its process may have."""

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Never fits."""
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
        np.ones(2**30)
        return PixelLearner.fit(self, task, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hungry(PixelLearner):
    """Takes half a GiB and is killed for it, as the operating system kills for memory: without a word."""

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Never fits."""
        taken = np.ones(2**26)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
        return Checkpoint(weights=taken.tobytes(), validation_loss=0.0, history=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverging(PixelLearner):
    """A loss (`what` = ``loss``) or a probability (``score``) that is not a number."""

    what: str

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Fit as ever, and perhaps report NaN."""
        fitted = PixelLearner.fit(self, task, progress)
        return replace(fitted, validation_loss=float("nan")) if self.what == "loss" else fitted

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:  # type: ignore[override]
        """As ever, and perhaps with one NaN in every prediction."""
        inner = PixelLearner.predictor(self, checkpoints, compute)
        return inner if self.what == "loss" else _OneNan(inner)


class _OneNan:
    def __init__(self, inner: Predictor) -> None:
        self._inner = inner

    def predict(self, image: np.ndarray, *, seed: int, **wanted: Any) -> Prediction:
        """The prediction, with one pixel that is no number."""
        found = self._inner.predict(image, seed=seed, **wanted)
        p, entropy = found.moments.probability.copy(), found.moments.entropy.copy()
        p[..., 5, 5], entropy[5, 5] = np.nan, np.nan
        moments: Moments = replace(found.moments, probability=p, entropy=entropy)
        return replace(found, moments=moments)

    def samples(self, image: np.ndarray, *, count: int, seed: int, spacing: Sequence[float] = ()) -> np.ndarray:
        """As the inner predictor."""
        return self._inner.samples(image, count=count, seed=seed, spacing=spacing)


def killed_on_ray(lab: Lab, case: tuple[str, int]) -> Outcome:
    """The driver of Ray's workers is killed at a failpoint; the next one starts its own."""
    from alframe.runtime import RayExecutor

    outcome = Outcome()
    with lab.folder() as folder:
        ended = lab.drive(folder, hook=failpoints.kill_at(*case), executor_of=lambda: RayExecutor(2)).wait()
        outcome.expect(ended.killed, f"the driver was not killed: {ended}")
        outcome.kills += 1
        lab.audit(folder, outcome, [], "after the kill")
        lab.finish(folder, outcome, executor_of=lambda: RayExecutor(2))
        lab.audit(folder, outcome, [], "at the end")
    return outcome


def member_killed(lab: Lab, number: int) -> Outcome:
    """On Ray: the process that fits member 1 is killed once, then for ever."""
    from alframe.runtime import RayExecutor

    outcome = Outcome(kills=1)
    with lab.folder() as folder:
        learner = Dying(members=2, steps=6, passes=2, folder=str(folder), times=1)
        ended = lab.drive(folder, learner=learner, executor_of=lambda: RayExecutor(2)).wait()
        outcome.expect(ended.last("digest") == lab.digest("oracle"), f"another digest after a killed member: {ended}")
        fits = sorted(file.name for file in folder.glob("fit-*"))
        rounds = 2
        outcome.expect(len(fits) == 2 * rounds + 1, f"expected one fit more than members, found {fits}")
    with lab.folder() as folder:
        learner = Dying(members=2, steps=6, passes=2, folder=str(folder), times=10**6)
        ended = lab.drive(folder, learner=learner, executor_of=lambda: RayExecutor(2, attempts=3)).wait()
        outcome.kills += len(list(folder.glob("fit-1-*")))
        outcome.expect(
            ended.last("error") == "TaskFailed", f"a member that always dies does not end the round: {ended}"
        )
        outcome.expect("after 3 attempts" in ended.last("text"), f"its attempts are not told: {ended}")
        lab.finish(folder, outcome)
    return outcome


def out_of_memory(lab: Lab, number: int) -> Outcome:
    """A training run asks for more memory than there is."""
    outcome = Outcome()
    with lab.folder() as folder:
        ended = lab.drive(folder, learner=Greedy(members=2, steps=6, passes=2)).wait()
        outcome.expect(ended.last("error") == "TaskFailed", f"the round did not fail: {ended}")
        told = ended.last("text")
        named = "fit: task 0 of 2" in told and "after 1 attempt" in told and "MemoryError" in told
        outcome.expect(named and _peak(told) > 0.02, f"task, attempts, cause and peak are not told: {ended}")
        outcome.expect(ledger_rows(folder, STANDS) == [("failed", told)], "the ledger does not say why it failed")
        lab.finish(folder, outcome)
    return outcome


def killed_for_memory(lab: Lab, number: int) -> Outcome:
    """On Ray: whoever trains is killed for the memory that it takes, again and again."""
    from alframe.runtime import RayExecutor

    outcome = Outcome()
    with lab.folder() as folder:
        learner = Hungry(members=1, steps=6, passes=2)
        ended = lab.drive(folder, learner=learner, executor_of=lambda: RayExecutor(1, attempts=3)).wait()
        outcome.kills += 3
        told = ended.last("text")
        named = ended.last("error") == "TaskFailed" and "fit: task 0 of 1" in told and "after 3 attempts" in told
        outcome.expect(named, f"the loop does not end, or task and attempts are not told: {ended}")
        outcome.expect(0.5 < _peak(told) < 2, f"the peak is not told: {ended}")
        outcome.expect(ledger_rows(folder, STANDS) == [("failed", told)], "the ledger does not say why it failed")
    return outcome


def _peak(told: str) -> float:
    """GiB, as an error names them."""
    found = re.search(r"the peak of its process was (\d+\.\d\d) GiB", told)
    return float(found[1]) if found else 0.0


def not_a_number(lab: Lab, what: str) -> Outcome:
    """The validation loss, or one pixel's probability, is NaN."""
    outcome = Outcome()
    with lab.folder() as folder:
        ended = lab.drive(folder, learner=Diverging(members=2, steps=6, passes=2, what=what)).wait()
        outcome.expect(ended.last("error") == "NonFiniteError", f"NaN in the {what} did not end the round: {ended}")
        reason = "validation loss is nan" if what == "loss" else "blob-"
        outcome.expect(reason in ended.last("text"), f"the reason is not told: {ended}")
        stands = ledger_rows(folder, STANDS)
        outcome.expect(stands == [("failed", ended.last("text"))], f"the ledger says {stands}")
        outcome.expect(not ledger_rows(folder, "SELECT 1 FROM queries WHERE round > 0"), "something was selected")
        if what == "loss":
            lab.finish(folder, outcome)
    return outcome


WORKERS = (
    Fault(
        number=1,
        title="the same, its workers on Ray",
        expected="same final digest as inline",
        cases=lambda lab: [
            ("ledger.record_artifact.after_commit", 5),
            ("campaign.trained.before", 2),
            ("campaign.scored.after", 2),
            ("campaign.calibrated.before", 3),
        ],
        trial=killed_on_ray,
        quick=0,
        needs="ray",
    ),
    Fault(
        number=6,
        title="a member's process killed (Ray)",
        expected="only that member trains again; one that always dies ends the round",
        cases=lambda lab: [0],
        trial=member_killed,
        quick=0,
        needs="ray",
    ),
    Fault(
        number=9,
        title="out of memory",
        expected="the round fails and names the task and its peak",
        cases=lambda lab: [0],
        trial=out_of_memory,
    ),
    Fault(
        number=9,
        title="killed for memory in a loop (Ray)",
        expected="the round fails after its attempts and names the task and its peak",
        cases=lambda lab: [0],
        trial=killed_for_memory,
        quick=0,
        needs="ray",
    ),
    Fault(
        number=19,
        title="NaN loss or score",
        expected="the round fails with the reason; NaN is never selected",
        cases=lambda lab: ["loss", "score"],
        trial=not_a_number,
        quick=2,
    ),
)
