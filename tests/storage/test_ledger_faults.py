"""The ledger under faults: drivers killed at every failpoint, two drivers, lost acknowledgements, many processes."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe import failpoints
from alframe.errors import ArtifactMissing, ConflictError, FencedError
from alframe.ports import Fence, Transition
from alframe.storage import FileArtifacts, SqlLedger, leases
from alframe.testing.contracts import ledger as samples
from alframe.types import ArtifactRef, Metric, Phase

STEPS = list(itertools.pairwise(Phase))


def _campaign(folder: Path) -> None:
    """A driver of two small rounds: files first, then rows, from wherever the ledger says the campaign stands."""
    ledger, store = SqlLedger(f"sqlite:///{folder}/ledger.db"), FileArtifacts(folder / "store")
    ledger.create("c", config="a: 1", config_hash="ch", pool_hash="ph")
    fence = ledger.claim("c", holder=f"{socket.gethostname()}:{os.getpid()}:x", lease_seconds=3600)
    for index in range(2):
        record = ledger.begin_round(fence, samples.planned(index))
        for source, target in STEPS[record.phase.order :]:
            if target is Phase.TRAINED:
                for member in range(2):
                    ref = store.put("checkpoint", f"weights {index} {member}".encode())
                    ledger.record_artifact(fence, index, f"checkpoint/{member}", ref)
            rows = _rows(store, index, target)
            ledger.advance(fence, Transition(round=index, source=source, target=target, **rows))
    ledger.release(fence, status="done")


def _rows(store: FileArtifacts, index: int, target: Phase) -> dict[str, Any]:
    queries = tuple(replace(q, rank=n) for n, q in enumerate(samples.sample_queries(6)[3 * index : 3 * index + 3]))
    if target is Phase.SELECTED:
        return {"queries": queries}
    if target is Phase.ASKED:
        return {"queries": tuple(replace(q, prefill=store.put("prefill", q.id.encode())) for q in queries)}
    if target is Phase.LABELLED:
        answers = (samples.sample_answer(q, sequence=3 * index + n, round=index) for n, q in enumerate(queries))
        return {"answers": tuple(replace(a, mask=store.put("mask", a.query.encode())) for a in answers)}
    if target is Phase.COMMITTED:
        return {"version": store.put("manifest", f"version {index}".encode()).sha256}
    if target is Phase.CALIBRATED:
        return {"metrics": (Metric(name="dice", value=index / 3, convention="pooled"),)}
    return {}


def _forked(work: Callable[[], None]) -> int:
    """Start `work` in a process of its own (cheap: everything is imported already); its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _drive(folder: Path, failpoint: str = "") -> int:
    """Exit code of a driver of its own process, killed at `failpoint` (``name:count``) if one is given."""
    name, _, count = failpoint.partition(":")

    def work() -> None:
        with failpoints.installed(failpoints.kill_at(name, int(count or 1))):
            _campaign(folder)

    return _ended(_forked(work))


def _outcome(folder: Path) -> tuple[object, ...]:
    """All that a campaign came to, without who drove it and when; every artifact a row names is read."""
    store = FileArtifacts(folder / "store")
    with SqlLedger(f"sqlite:///{folder}/ledger.db", create=False) as ledger:
        record, *rest = samples.contents(ledger)
        named = [ref for index in range(2) for ref in ledger.artifacts("c", index).values()]
        named += [query.prefill for query in ledger.queries("c") if query.prefill]
        named += [answer.mask for answer in ledger.answers("c") if answer.mask]
    for ref in named:
        store.get(ref)
    assert len(named) == 4 + 6 + 6
    return replace(record, epoch=0, holder="", created=""), *rest  # type: ignore[type-var]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert _drive(folder) == 0
    return _outcome(folder)


FAILPOINTS = [
    *(f"ledger.advance.{side}_commit:{count}" for side in ("before", "after") for count in (2, 3, 4, 5, 6, 13)),
    "ledger.upgrade.after_commit:1",
    "ledger.create.after_commit:1",
    "ledger.claim.after_commit:1",
    "ledger.begin_round.before_commit:2",
    "ledger.record_artifact.before_commit:2",
    "ledger.record_artifact.after_commit:3",
    "ledger.release.before_commit:1",
    "artifact.checkpoint.after_rename:2",
    "artifact.prefill.before_write:2",
    "artifact.mask.after_write:2",
    "artifact.mask.after_folder:3",
    "artifact.manifest.after_folder:1",
]


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_killed_driver_is_resumed_to_the_same_end(
    tmp_path: Path, undisturbed: tuple[object, ...], failpoint: str
) -> None:
    assert _drive(tmp_path, failpoint) == -9
    assert _drive(tmp_path) == 0  # at once: the lease of an hour belongs to a process that is dead
    assert _outcome(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("second", FAILPOINTS[::3])
@pytest.mark.parametrize("first", FAILPOINTS[::4])
def test_killed_again_during_recovery(tmp_path: Path, undisturbed: tuple[object, ...], first: str, second: str) -> None:
    assert _drive(tmp_path, first) == -9
    assert _drive(tmp_path, second) in (-9, 0)
    assert _drive(tmp_path) == 0
    assert _outcome(tmp_path) == undisturbed


def test_the_harness_sees_a_row_without_its_file(tmp_path: Path) -> None:
    assert _drive(tmp_path) == 0
    mask = next((tmp_path / "store" / "mask").rglob("[0-9a-f]" * 64))
    mask.unlink()
    with pytest.raises(ArtifactMissing):
        _outcome(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[SqlLedger, SqlLedger]]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with SqlLedger(url) as first, SqlLedger(url) as second:
        yield first, second


def test_taken_over_while_frozen_before_the_transaction(two: tuple[SqlLedger, SqlLedger]) -> None:
    """SIGSTOP past the lease, then SIGCONT: the sleeper finds itself fenced and writes nothing."""
    sleeper, heir = two
    old = samples.start(sleeper)
    sleeper.renew(old, lease_seconds=0)
    new = heir.claim("c", holder=samples.OTHER, lease_seconds=600)
    taken = samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(2))
    heir.advance(new, taken)
    before = samples.contents(heir)
    for again in (taken, replace(taken, source=Phase.SELECTED, target=Phase.ASKED)):
        with pytest.raises(FencedError, match="must stop"):
            sleeper.advance(old, again)
    assert samples.contents(heir) == before


def test_a_lost_acknowledgement_is_repeated_without_harm(two: tuple[SqlLedger, SqlLedger]) -> None:
    ledger, other = two
    fence = samples.start(ledger)
    taken = samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(2))

    def lose(name: str) -> None:
        if name == "ledger.advance.after_commit":
            raise TimeoutError

    with failpoints.installed(lose), pytest.raises(TimeoutError):
        ledger.advance(fence, taken)
    before = samples.contents(other)
    ledger.advance(fence, taken)
    assert samples.contents(other) == before
    assert ledger.queries("c") == samples.sample_queries(2)


def _race(url: str, rival: int, starts: int, won: Path) -> None:
    """Take 25 steps under a fence that rivals share, in a race; writes how many artifacts it named first."""
    ledger, fence = SqlLedger(url), Fence(campaign="c", epoch=1)
    os.read(starts, 1)
    first = 0
    for index in range(25):
        ledger.begin_round(fence, samples.planned(index))
        mine = Metric(name="winner", value=float(rival), convention="", scope=str(rival))
        first += ledger.record_artifact(fence, index, "k", samples.sample_ref(rival)) == samples.sample_ref(rival)
        ledger.advance(fence, Transition(round=index, source=Phase.PLANNED, target=Phase.TRAINED, metrics=(mine,)))
    won.write_text(str(first))


def test_processes_that_race_for_each_step_write_it_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with SqlLedger(url) as ledger:
        samples.start(ledger, rounds=0)
    starts, gun = os.pipe()
    scores = [tmp_path / str(rival) for rival in range(3)]
    rivals = [_forked(partial(_race, url, rival, starts, score)) for rival, score in enumerate(scores)]
    os.write(gun, b"go!")
    assert [_ended(pid) for pid in rivals] == [0, 0, 0]
    os.close(starts)
    os.close(gun)
    assert sum(int(score.read_text()) for score in scores) == 25
    with SqlLedger(url) as ledger:
        assert [record.phase for record in ledger.rounds("c")] == [Phase.TRAINED] * 25
        assert [index for index, _ in ledger.metrics("c")] == list(range(25))
        assert len(ledger.seconds("c")) == 25


def _transition(number: int) -> Transition:
    """The `number`-th step of round 0, with rows that tell it apart."""
    source, target = STEPS[number]
    queries = tuple(replace(q, rank=number) for q in samples.sample_queries(len(STEPS))[number : number + 1])
    metric = Metric(name="step", value=float(number), convention="", label=str(number))
    return samples.step(
        source,
        target,
        queries=queries,
        answers=tuple(samples.sample_answer(q, sequence=number, round=0) for q in queries),
        metrics=(metric,),
        artifacts={f"a/{number}": samples.sample_ref(number)},
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(STEPS) - 1), st.sampled_from(["take", "crash", "lose"])), max_size=25))
def test_any_order_of_steps_crashes_and_repeats_keeps_a_whole_prefix(calls: list[tuple[int, str]]) -> None:
    """Against a model of one integer: the number of steps taken. Whatever is called, the rows are those of a prefix."""

    def hook(mode: str) -> Callable[[str], None]:
        at = {"crash": "ledger.advance.before_commit", "lose": "ledger.advance.after_commit"}.get(mode)

        def fail(name: str) -> None:
            if name == at:
                raise TimeoutError

        return fail

    with tempfile.TemporaryDirectory() as folder, SqlLedger(f"sqlite:///{folder}/ledger.db") as ledger:
        fence = samples.start(ledger)
        taken = 0
        for number, mode in calls:
            allowed = number in (taken, taken - 1)
            try:
                with failpoints.installed(hook(mode)):
                    ledger.advance(fence, _transition(number))
                assert allowed
                assert mode == "take"
            except ConflictError:
                assert not allowed
            except TimeoutError:
                assert allowed
            taken += number == taken and mode != "crash"
            assert ledger.rounds("c")[0].phase.order == taken
        expected = [_transition(number) for number in range(taken)]
        assert ledger.queries("c") == tuple(query for step in expected for query in step.queries)
        assert ledger.answers("c") == tuple(answer for step in expected for answer in step.answers)
        assert ledger.metrics("c") == tuple((0, metric) for step in expected for metric in step.metrics)
        assert ledger.artifacts("c", 0) == {f"a/{number}": samples.sample_ref(number) for number in range(taken)}
        assert [phase for _, phase, _ in ledger.seconds("c")] == [step.target for step in expected]


def test_a_ledger_without_fence_fails_its_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant: the contract must catch a driver that writes after it was replaced."""
    monkeypatch.setattr(leases, "check", lambda *_, **__: None)
    opened: list[SqlLedger] = []

    def open_ledger() -> SqlLedger:
        opened.append(SqlLedger(f"sqlite:///{tmp_path}/ledger.db"))
        return opened[-1]

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        samples.LedgerContract().test_an_expired_lease_can_be_taken_and_the_old_driver_is_fenced(open_ledger)
    for ledger in opened:
        ledger.close()


class LateFiles(FileArtifacts):
    """A mutant: it hands out a reference now and stores the bytes with the next ones (the row comes before the file)."""

    late: tuple[str, bytes] | None = None

    def put(self, kind: str, data: bytes) -> ArtifactRef:
        if self.late:
            super().put(*self.late)
        self.late = (kind, data)
        return ArtifactRef(kind=kind, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def test_rows_before_files_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "FileArtifacts", LateFiles)
        assert _drive(tmp_path, "ledger.advance.after_commit:5") == -9
    assert _drive(tmp_path) == 0
    with pytest.raises(ArtifactMissing):
        _outcome(tmp_path)
