"""What the desk refuses before the ledger hears of it, and what several raters' labels come to."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score

from alframe.errors import InvalidValue
from alframe.labelling import Credential, Forbidden, LabellingDesk, Roster, Scope, Work, class_map_hash
from alframe.labelling.consensus import agreement, disagreement, fused, outcome_of, with_objects
from alframe.labelling.desk import DRAFT_BYTES
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.contracts.labelling import CAMPAIGN, drawing, sample_tasks
from alframe.testing.desks import enrolled, work_of
from alframe.types import ArtifactRef, LabelMap, Outcome

MASKS = hnp.arrays(np.uint8, (5, 4), elements=st.sampled_from([0, 1, 2, 255]))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabellingDesk]:
    folder = tmp_path_factory.mktemp("desk")
    with SqlLabelling(f"sqlite:///{folder}/ledger.db") as ledger:
        made = LabellingDesk(ledger, FileArtifacts(folder / "store"))
        shown = ArtifactRef(kind="prefill", sha256="ab" * 32, size=1)
        made.ask([*sample_tasks(1, prefill=shown), *sample_tasks(1, first=2, prefill=shown, blind=True)])
        yield made


def empty(value: int) -> LabelMap:
    return LabelMap(classes=np.full((4, 4), value, np.uint8))


GOOD = work_of(drawing())
REFUSED = {
    "no UUID": replace(GOOD, id="../../etc/passwd"),
    "UUID in capitals": replace(GOOD, id=str(uuid.uuid4()).upper()),
    "UUID with braces": replace(GOOD, id="{" + str(uuid.uuid4()) + "}"),
    "wrong shape": replace(GOOD, labels=LabelMap(classes=np.ones((4, 5), np.uint8))),
    "another number of axes": replace(GOOD, labels=LabelMap(classes=np.ones((4, 4, 1), np.uint8))),
    "unknown class": replace(GOOD, labels=empty(3)),
    "unknown class 254": replace(GOOD, labels=empty(254)),
    "labels missing": replace(GOOD, labels=None),
    "labels too many": replace(GOOD, outcome=Outcome.SKIPPED),
    "labeled, but nothing is drawn": replace(GOOD, labels=empty(0)),
    "labeled, but all left open": replace(GOOD, labels=empty(255)),
    "empty, but something is drawn": replace(GOOD, outcome=Outcome.EMPTY_CONFIRMED),
    "empty, but all left open": replace(GOOD, outcome=Outcome.EMPTY_CONFIRMED, labels=empty(255)),
    "class map of yesterday": replace(GOOD, class_map=class_map_hash(("background", "gland"))),
    "pre-fill of yesterday": replace(GOOD, prefill_shown=True, prefill_sha256="cd" * 32),
    "negative time": replace(GOOD, active_ms=-1),
    "a year of work": replace(GOOD, active_ms=366 * 86_400_000),
    "more pixels than there are": replace(GOOD, pixels_changed=17),
    "an endless reason": replace(GOOD, reason="x" * 2001),
    "a reason with a NUL": replace(GOOD, reason="a\0b"),
    "a client with an escape": replace(GOOD, client="\x1b[31m"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_work_that_cannot_be_an_answer_is_refused(desk: LabellingDesk, name: str) -> None:
    who = Roster(desk.ledger).asserted("anna")
    before = desk.ledger.head()
    with pytest.raises(InvalidValue):
        desk.deliver(who, f"{CAMPAIGN}-0", REFUSED[name])
    assert desk.ledger.head() == before


def test_a_prefill_cannot_have_been_shown_where_there_is_none(desk: LabellingDesk) -> None:
    who = Roster(desk.ledger).asserted("anna")
    with pytest.raises(InvalidValue, match="blind"):
        desk.deliver(who, f"{CAMPAIGN}-2", replace(GOOD, prefill_shown=True))


def test_scripts_in_a_reason_are_kept_as_they_are(tmp_path: Path) -> None:
    """The desk stores text; whoever shows it must escape it."""
    with SqlLabelling(f"sqlite:///{tmp_path}/l.db") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "store"))
        desk.ask(sample_tasks(1))
        work = replace(GOOD, reason="<script>alert(1)</script>'; DROP TABLE tasks;--")
        desk.deliver(Roster(ledger).asserted("anna"), f"{CAMPAIGN}-0", work)
        assert ledger.submission(work.id).reason == work.reason


@pytest.mark.parametrize("scope", [Scope.REVIEW, None])
def test_without_the_scope_nothing_goes(desk: LabellingDesk, scope: Scope | None) -> None:
    who = Credential(rater="anna", scopes=frozenset({scope} if scope else ()))
    calls = (
        lambda: desk.claim(who, CAMPAIGN),
        lambda: desk.heartbeat(who, "x"),
        lambda: desk.release(who, "x"),
        lambda: desk.assignment(who, "x"),
        lambda: desk.draft(who, "x"),
        lambda: desk.save_draft(who, "x", b"", media_type="a/b", tag=None),
        lambda: desk.submit(who, "x", GOOD),
        lambda: desk.deliver(who, "x", GOOD),
    )
    for call in calls:
        with pytest.raises(Forbidden, match="annotate"):
            call()
    with pytest.raises(Forbidden, match="review"):
        desk.adjudicate(Credential(rater="anna", scopes=frozenset({Scope.ANNOTATE})), "x", GOOD)


def test_an_administrator_may_do_all(tmp_path: Path) -> None:
    with SqlLabelling(f"sqlite:///{tmp_path}/l.db") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "store"))
        desk.ask(sample_tasks(1))
        (root,) = enrolled(desk, "root", scopes=(Scope.ADMIN,))
        given = desk.claim(root, CAMPAIGN)
        assert given is not None
        desk.submit(root, given.lease.id, work_of(drawing()))
        assert desk.adjudicate(root, given.task.id, work_of(drawing(2))).submission.standing == "adjudication"


def test_a_huge_draft_is_refused(desk: LabellingDesk) -> None:
    who = Roster(desk.ledger).asserted("anna")
    with pytest.raises(InvalidValue, match="bytes"):
        desk.save_draft(who, "x", bytes(DRAFT_BYTES + 1), media_type="a/b", tag=None)


@pytest.mark.parametrize(
    "name", ["", " anna", "anna ", "consensus", "a/b", "<b>", "a\nb", "x" * 81, "-anna", "\u202eanna"]
)
def test_names_that_mislead_are_refused(desk: LabellingDesk, name: str) -> None:
    for add in (Roster(desk.ledger).add, Roster(desk.ledger).asserted):
        with pytest.raises(InvalidValue, match="name"):
            add(name)


@pytest.mark.parametrize("name", ["anna", "Dr. Anna Weber", "Žofie O-2", "a@b.org", "山田", "Müller, MD"])
def test_names_of_people_are_fine(desk: LabellingDesk, name: str) -> None:
    assert Roster(desk.ledger).asserted(name).rater == name


# -- consensus


@given(one=MASKS, other=MASKS)
def test_agreement_is_the_mean_f1_of_the_classes_in_use(one: np.ndarray, other: np.ndarray) -> None:
    both = (one != 255) & (other != 255)
    used = sorted({*one[both].tolist(), *other[both].tolist()} - {0})
    found = agreement(LabelMap(classes=one), LabelMap(classes=other))
    expected = f1_score(one[both], other[both], labels=used, average="macro") if used else 1.0
    assert found == pytest.approx(expected)
    assert found == agreement(LabelMap(classes=other), LabelMap(classes=one))


def test_agreement_where_somebody_drew_nothing() -> None:
    assert agreement(None, None) == 1.0
    assert agreement(drawing(), None) == agreement(None, drawing()) == 0.0
    assert disagreement([drawing()]) == 0.0
    assert disagreement([drawing(), drawing(), None]) == pytest.approx(2 / 3)


@given(masks=st.lists(MASKS, min_size=1, max_size=4))
def test_the_majority_of_each_pixel_wins(masks: list[np.ndarray]) -> None:
    named = {f"r{k}": LabelMap(classes=mask) for k, mask in enumerate(masks)}
    found = fused(named).classes
    for at in np.ndindex(found.shape):
        votes = [int(mask[at]) for mask in masks if mask[at] != 255]
        if not votes:
            assert found[at] == 255
            continue
        most = max(votes.count(value) for value in votes)
        assert found[at] == next(value for value in votes if votes.count(value) == most)


def test_what_labels_say() -> None:
    assert [outcome_of(one).value for one in (drawing(), empty(0), empty(255))] == [
        "labeled",
        "empty_confirmed",
        "ambiguous",
    ]


@given(mask=MASKS)
def test_pieces_become_objects(mask: np.ndarray) -> None:
    found = with_objects(LabelMap(classes=mask)).instances
    assert found is not None
    assert np.array_equal(found > 0, (mask == 1) | (mask == 2))
    seen: dict[int, int] = {}
    for at in np.ndindex(mask.shape):  # brute force: neighbours of one class are one object, others are not
        for axis in range(mask.ndim):
            after = tuple(p + (k == axis) for k, p in enumerate(at))
            if after[axis] < mask.shape[axis] and found[at] and found[after]:
                assert (found[at] == found[after]) == (mask[at] == mask[after])
        if found[at]:
            assert seen.setdefault(int(found[at]), int(mask[at])) == mask[at]
    given_objects = LabelMap(classes=mask, instances=np.full(mask.shape, 7, np.int32))
    assert with_objects(given_objects) is given_objects


def test_work_has_no_rater() -> None:
    """Who it is by comes from the credential only."""
    assert not {"rater", "who", "user"} & set(Work.__dataclass_fields__)
