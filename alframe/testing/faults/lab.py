"""A small real campaign that can be driven, killed, resumed and looked at, again and again."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alframe import failpoints
from alframe.campaign import Budget, CampaignLoop
from alframe.composition import label_arrays
from alframe.ports import Executor, Learner
from alframe.runtime import InlineExecutor
from alframe.storage import SqlLedger
from alframe.storage import arrays as array_format
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.faults.model import Outcome
from alframe.testing.faults.power import PowerLoss, tear_last_commit
from alframe.testing.faults.processes import Child, Ended, Say, spawn
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Answer, LabelMap, Query
from alframe.types import Outcome as Said

__all__ = ["NAME", "Away", "Flow", "Hook", "Lab", "answer_to", "ledger_rows"]

NAME = "small"
RATER = "ana"
LEASE = 3600.0
"""So long that no heartbeat falls into a trial and adds a commit of its own."""

Flow = Literal["oracle", "tell"]
"""Who answers: a simulated rater within ``run``, or a person through ``ask`` and ``tell``, one answer at a time."""
Hook = Callable[[str], None]


class Away:
    """An oracle whose raters answer by ``Campaign.tell`` only."""

    immediate = False

    def ask(self, campaign: str, queries: object) -> None:
        """Nothing to put up."""

    def collect(self, campaign: str, queries: object) -> tuple[Answer, ...]:
        """No answers."""
        return ()


def answer_to(campaign: CampaignLoop, query: Query, *, rater: str = RATER, other: bool = False) -> Answer:
    """An answer: the truth of a whole item, and "all background" for a region, so that many masks have the same bytes.

    With `other`, a different one.
    """
    whole = campaign.parts.pool.truth(query.item)
    classes = whole.crop(query.box).classes if query.box.shape == whole.shape else np.zeros(query.box.shape, np.uint8)
    labels = LabelMap(classes=1 - classes if other else classes, instances=np.zeros(query.box.shape, np.int32))
    return Answer(query=query.id, rater=rater, outcome=Said.LABELED, labels=labels)


class Lab:
    """The campaign of all trials, the folder they happen in, and what an undisturbed run of it comes to."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed
        self.pool = blobs(7, 14)
        self._numbers = itertools.count()
        self._template = root / "template"
        self._template.mkdir(parents=True)
        _closed(self.campaign(self._template))
        with self.folder() as folder:  # what every driver needs is loaded once, before they are forked
            campaign = self.campaign(folder)
            campaign.run()
            _closed(campaign)
        self._quiet: dict[Flow, Ended] = {}

    @classmethod
    @contextmanager
    def opened(cls, seed: int = 0) -> Iterator[Lab]:
        """A lab in a folder in memory, where the machine has one, or in a temporary one.

        Memory is enough even for power loss: what is synced is watched, not believed.
        """
        memory = Path("/dev/shm")
        root = tempfile.mkdtemp(prefix="alframe-faults-", dir=memory if os.access(memory, os.W_OK) else None)
        try:
            yield cls(Path(root), seed)
        finally:
            shutil.rmtree(root)

    def rng(self, *case: object) -> random.Random:
        """The draws of one case."""
        return random.Random(f"{self.seed}/{case}")

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder with a campaign that was created and not begun; removed afterwards."""
        folder = self.root / f"trial-{next(self._numbers)}"
        shutil.copytree(self._template, folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def campaign(
        self,
        folder: Path,
        *,
        flow: Flow = "oracle",
        learner: Learner | None = None,
        executor: Executor | None = None,
        lease: float = LEASE,
        ledger_url: str = "",
    ) -> CampaignLoop:
        """The campaign of the lab in `folder`."""
        return small_campaign(
            folder,
            executor or InlineExecutor(),
            name=NAME,
            pool=self.pool,
            learner=learner or PixelLearner(members=2, steps=6, passes=2),
            budget=Budget(rounds=1),
            batch=3,
            oracle=Away() if flow == "tell" else None,
            lease_seconds=lease,
            ledger_url=ledger_url,
        )

    def drive(
        self,
        folder: Path,
        *,
        flow: Flow = "oracle",
        hook: Hook | None = None,
        executor_of: Callable[[], Executor] = InlineExecutor,
        **parts: Any,
    ) -> Child:
        """A driver in its own process. It says ``ack`` (query, hash of the mask) after each answer, and at the end ``digest``."""

        def work(say: Say) -> None:
            with failpoints.installed(hook or (lambda name: None)), closing(executor_of()) as executor:
                campaign = self.campaign(folder, flow=flow, executor=executor, **parts)
                standing = campaign.run() if flow == "oracle" else _answered(campaign, say)
            say(status=standing.status, reason=standing.reason, digest=campaign.digest())

        return spawn(work)

    def quiet(self, flow: Flow) -> Ended:
        """An undisturbed run: every failpoint under ``point``, and its ``digest``."""
        if flow not in self._quiet:

            def work(say: Say) -> None:
                reached: list[str] = []
                with failpoints.installed(reached.append), tempfile.TemporaryDirectory(dir=self.root) as place:
                    folder = Path(place) / "quiet"
                    shutil.copytree(self._template, folder)
                    campaign = self.campaign(folder, flow=flow)
                    standing = campaign.run() if flow == "oracle" else _answered(campaign, lambda **_: None)
                    say(status=standing.status, digest=campaign.digest())
                for name in reached:
                    say(point=name)

            ended = spawn(work).wait()
            if ended.last("status") != "done":
                raise RuntimeError(f"the undisturbed campaign did not end well: {ended}")
            self._quiet[flow] = ended
        return self._quiet[flow]

    @contextmanager
    def measured_anew(self) -> Iterator[None]:
        """Within the block, undisturbed runs are those of the alframe that is installed now (a mutant)."""
        kept, self._quiet = self._quiet, {}
        try:
            yield
        finally:
            self._quiet = kept

    def points(self, flow: Flow) -> list[str]:
        """Every failpoint that the undisturbed run reaches, in order."""
        return self.quiet(flow).all("point")

    def killer(self, folder: Path, count: int, *, power: str = "", rng: random.Random) -> Hook:
        """A hook for a child: kills it at the `count`-th failpoint (from 1), whatever its name.

        With `power` (``all`` or ``some``) the power goes too: un-synced files are lost, and so is a commit that had not returned.
        """
        left = [count]
        loss: list[PowerLoss] = []

        def hook(name: str) -> None:
            if power and not loss:
                loss.append(PowerLoss(folder, rng, gambling=power == "some"))
                loss[0].watch()
            left[0] -= 1
            if left[0]:
                return
            if power:
                loss[0].strike()
                if name.endswith(".after_commit"):
                    tear_last_commit(folder / "ledger.db-wal", rng)
            os.kill(os.getpid(), signal.SIGKILL)

        return hook

    def audit(self, folder: Path, outcome: Outcome, acknowledged: list[Any], when: str) -> None:
        """Look at what lies on the disk with other eyes than alframe's: every row's file, every acknowledged label."""
        named = ledger_rows(
            folder,
            "SELECT kind, sha256, size FROM artifacts UNION SELECT prefill_kind, prefill_sha256, prefill_size FROM queries "
            "UNION SELECT mask_kind, mask_sha256, mask_size FROM answers",
        )
        for kind, sha256, size in named:
            if kind is not None:
                wrong = _wrong(folder, kind, sha256, size)
                outcome.expect(not wrong, f"{when}: a row names {kind} {sha256[:8]}, {wrong}")
        told = dict(ledger_rows(folder, "SELECT key, sha256 FROM artifacts WHERE key LIKE 'told/%'"))
        for query, mask in acknowledged:
            answer = told.get(f"told/{query}/{RATER}", "")
            outcome.expect(bool(answer), f"{when}: the acknowledged label of {query[:8]} is not in the ledger")
            file = folder / "artifacts" / "answer" / answer[:2] / answer
            if answer and file.is_file() and (text := file.read_bytes()) and text.startswith(b"{"):
                kind, sha256, size = json.loads(text)["mask"]
                wrong = "with another mask" if sha256 != mask else _wrong(folder, kind, sha256, size)
                outcome.expect(not wrong, f"{when}: an acknowledged label names {kind} {sha256[:8]}, {wrong}")

    def finish(self, folder: Path, outcome: Outcome, flow: Flow = "oracle", **parts: Any) -> Ended:
        """Drive to the end undisturbed: the digest must be that of the quiet run."""
        ended = self.drive(folder, flow=flow, **parts).wait()
        outcome.expect(ended.last("status") == "done", f"the resumed campaign did not end: {ended}")
        if ended.last("status") == "done":
            outcome.expect(ended.last("digest") == self.digest(flow), "the resumed campaign has another digest")
        return ended

    def digest(self, flow: Flow) -> str:
        """What an undisturbed run comes to."""
        return self.quiet(flow).last("digest")


def _closed(campaign: CampaignLoop) -> None:
    ledger = campaign.parts.ledger
    assert isinstance(ledger, SqlLedger)
    ledger.close()


def _answered(campaign: CampaignLoop, say: Say) -> Any:
    while queries := campaign.ask():
        for query in queries:
            answer = answer_to(campaign, query)
            campaign.tell([answer])
            assert answer.labels is not None
            mask = hashlib.sha256(array_format.encode(label_arrays(answer.labels))).hexdigest()
            say(ack=[query.id, mask])
    return campaign.run()


def _wrong(folder: Path, kind: str, sha256: str, size: int) -> str:
    file = folder / "artifacts" / kind / sha256[:2] / sha256
    if not file.is_file():
        return "which is not there"
    data = file.read_bytes()
    if len(data) != size:
        return f"which has {len(data)} of {size} bytes"
    return "" if hashlib.sha256(data).hexdigest() == sha256 else "which has other bytes"


def ledger_rows(folder: Path, question: str) -> list[Any]:
    """Rows of a copy of the ledger as it lies on the disk; the ledger itself, with its log, is left as it was found."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        for suffix in ("", "-wal"):
            if (file := folder / f"ledger.db{suffix}").exists():
                shutil.copy(file, place)
        with closing(sqlite3.connect(Path(place) / "ledger.db")) as connection:
            return connection.execute(question).fetchall()
