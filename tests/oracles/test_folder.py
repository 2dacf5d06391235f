"""Labelling through a folder: what programs find there, what is taken from them and what is refused, and a whole campaign."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from alframe.errors import ConflictError, InvalidValue, StoreUnavailable
from alframe.labelling import LabellingDesk, refusals, verify
from alframe.oracles import Folder, FolderOracle, Simulated
from alframe.oracles.folder.images import onto
from alframe.oracles.folder.layout import name_of
from alframe.ports import Oracle, Pool
from alframe.readers import read_mask
from alframe.runtime import InlineExecutor
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.contracts.oracle import CAMPAIGN, OracleContract, a_query
from alframe.testing.docs import blocks
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import ItemInfo, Outcome, Query


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LabellingDesk]:
    with SqlLabelling(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))


def bound(pool: Pool, desk: LabellingDesk, folder: Path, **parameters: object) -> FolderOracle:
    said = Folder(**{"settle": 0.0, **parameters})  # type: ignore[arg-type]
    return said.bind(pool, desk, workdir=folder, read_mask=read_mask)


def save(folder: Path, name: str, classes: NDArray[np.uint8], rater: str = "") -> Path:
    """Save a label map as the image's own format asks, as a program would that had opened it."""
    (image,) = (folder / "images").glob(f"{name}.*")
    target = folder / "labels" / rater / image.name
    target.parent.mkdir(exist_ok=True)
    if image.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(classes.T, nibabel.load(image).affine), target)
    elif image.suffix == ".tiff":
        tifffile.imwrite(target, classes)
    else:
        iio.imwrite(target, classes)
    return target


def draw(pool: Pool, folder: Path, rater: str = "", truth: str | None = None) -> int:
    """Label all that waits with the truth, from the folder alone, as somebody does who sees nothing else; how many."""
    done = 0
    for sheet in sorted((folder / "tasks").glob("*.json")):
        about = json.loads(sheet.read_text())
        box = tuple(slice(a, b) for a, b in zip(about["box"]["start"], about["box"]["stop"], strict=True))
        if not list((folder / "labels" / rater).glob(f"{sheet.stem}.*")):
            save(folder, sheet.stem, pool.truth(about["item"], truth).classes[box], rater)
            done += 1
    return done


class TestFolder(OracleContract):
    @pytest.fixture(autouse=True)
    def _place(self, desk: LabellingDesk, tmp_path: Path, pool: Pool) -> None:
        self.desk, self.folder, self.pool_ = desk, tmp_path, pool

    def make(self, pool: Pool) -> Oracle:
        return bound(pool, LabellingDesk(self.desk.ledger, self.desk.artifacts), self.folder)

    def work(self, oracle: Oracle, queries: Sequence[Query]) -> None:
        for rater in ("anna", "bo"):
            draw(self.pool_, self.folder / "labelling", rater, rater)


@pytest.fixture
def asked(desk: LabellingDesk, tmp_path: Path) -> tuple[FolderOracle, Query, Path]:
    """An oracle with one query, and its folder."""
    pool = blobs(4)
    query = a_query("blob-00", (2, 3), (12, 15))
    oracle = bound(pool, desk, tmp_path)
    oracle.ask(CAMPAIGN, [query])
    return oracle, query, tmp_path / "labelling"


def region(value: int = 1) -> NDArray[np.uint8]:
    classes = np.zeros((10, 12), np.uint8)
    classes[3:6, 4:9] = value
    return classes


NAME = "00001-blob-00"


def test_what_programs_find(asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk) -> None:
    oracle, query, folder = asked
    image = iio.imread(folder / "images" / f"{NAME}.png")
    assert np.array_equal(image, blobs(4).image("blob-00", query.box)[0])
    about = json.loads((folder / "tasks" / f"{NAME}.json").read_text())
    assert (about["task"], about["item"], about["box"]) == (query.id, "blob-00", {"start": [2, 3], "stop": [12, 15]})
    assert [one["name"] for one in about["classes"]] == ["background", "blob"]
    assert about["class_map"] == desk.ledger.task(query.id).class_map
    assert (about["prefill"], about["not_annotated"]) == (None, 255)
    context = iio.imread(folder / about["context"])
    assert context.shape == (28, 28, 3)
    assert tuple(context[1, 2]) == tuple(context[12, 15]) == (255, 196, 0)  # the frame
    assert "1  blob" in (folder / "README.txt").read_text()
    assert '"blob"' in (folder / "classes" / "itk-snap.txt").read_text()
    assert "1 blob 86 180 233 255" in (folder / "classes" / "slicer.ctbl").read_text()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    oracle.ask(CAMPAIGN, [query])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_prefill_is_offered_and_the_influence_recorded(desk: LabellingDesk, tmp_path: Path) -> None:
    pool, query = blobs(4), a_query("blob-00", (0, 0), (10, 12))
    arrays = {"classes": region(), "uncertainty": np.zeros((10, 12), np.float16)}
    query = replace(query, prefill=desk.artifacts.put_arrays("prefill", arrays))
    hidden = replace(query, id="blind", box=query.box)
    oracle = bound(pool, desk, tmp_path)
    oracle.ask(CAMPAIGN, [query])
    bound(pool, desk, tmp_path / "blind", blind_share=1.0).ask("another", [hidden])
    folder = tmp_path / "labelling"
    assert np.array_equal(iio.imread(folder / "prefill" / f"{NAME}.png"), region())
    assert list((tmp_path / "blind" / "labelling" / "prefill").iterdir()) == []
    changed = region()
    changed[0, :3] = 1
    save(folder, NAME, changed)
    oracle.collect(CAMPAIGN, [query])
    (stored,) = desk.ledger.submissions(CAMPAIGN)
    assert (stored.prefill_shown, stored.pixels_changed, stored.rater) == (True, 3, "expert")
    assert query.prefill is not None
    assert stored.prefill_sha256 == query.prefill.sha256
    assert desk.ledger.raters()[0].asserted


def test_an_edit_supersedes_a_rewrite_does_not_and_a_deletion_is_an_event(
    asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk
) -> None:
    oracle, query, folder = asked
    saved = save(folder, NAME, region())
    first = oracle.collect(CAMPAIGN, [query])
    iio.imwrite(saved, region(), compress_level=0)  # other bytes, the same labels
    oracle.collect(CAMPAIGN, [query])
    assert len(desk.ledger.submissions(CAMPAIGN)) == 1
    changed = region()
    changed[8, 8] = 1
    save(folder, NAME, changed)
    second = oracle.collect(CAMPAIGN, [query])
    save(folder, NAME, region())  # and back again
    third = oracle.collect(CAMPAIGN, [query])
    said = [answers[0].labels for answers in (first, second, third)]
    for labels, classes in zip(said, (region(), changed, region()), strict=True):
        assert labels is not None
        assert np.array_equal(labels.classes, classes)
    submissions = desk.ledger.submissions(CAMPAIGN)
    assert [one.supersedes for one in submissions] == [None, submissions[0].id, submissions[1].id]

    saved.unlink()
    for _ in range(2):
        assert len(oracle.collect(CAMPAIGN, [query])) == 1  # the label stands
    save(folder, NAME, region())
    oracle.collect(CAMPAIGN, [query])
    saved.unlink()
    oracle.collect(CAMPAIGN, [query])
    actions = [event.action for event in desk.ledger.events() if event.action.startswith("bridge.")]
    assert actions == ["bridge.deleted", "bridge.restored", "bridge.deleted"]
    assert len(desk.ledger.submissions(CAMPAIGN)) == 3
    assert verify(desk.ledger, desk.artifacts).problems == ()


def refused(asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk, path: Path, *words: str) -> None:
    """`path` is refused with a file beside it, in STATUS.txt and in the audit; removed, all of that is gone."""
    oracle, query, folder = asked
    beside = path.with_name(path.name + ".problem.txt")
    for _ in range(2):
        assert oracle.collect(CAMPAIGN, [query]) == ()
        text = beside.read_text()
        for word in words:
            assert word in text
        (found,) = refusals(desk.ledger, CAMPAIGN)
        assert found.problem == text.strip()
        assert path.name in (folder / "STATUS.txt").read_text()
    assert sum(event.action == "bridge.refused" for event in desk.ledger.events()) == 1  # said once, not at every look
    assert desk.ledger.submissions(CAMPAIGN) == ()
    path.unlink()
    oracle.collect(CAMPAIGN, [query])
    assert not beside.exists()
    assert refusals(desk.ledger, CAMPAIGN) == ()


def test_what_cannot_be_a_label_map_is_refused_with_the_reason(
    asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk, subtests: pytest.Subtests
) -> None:
    folder = asked[2]
    whole = region()
    cases: list[tuple[str, object, tuple[str, ...]]] = [
        (f"{NAME}.png", np.zeros((9, 12), np.uint8), ("(10, 12)", "(9, 12)")),
        (f"{NAME}.png", region(7), ("classes 0 to 1", "[7]")),
        (f"{NAME}.png", np.dstack([whole, whole * 9, whole]), ("one value per pixel",)),
        (f"{NAME}.png", b"\x89PNG\r\n\x1a\n half of a file", ("complete",)),
        (f"{NAME}.tif", whole.astype(np.float32) + 0.5, ("class numbers", "0.5")),
        (f"{NAME}.tif", whole.astype(np.int16) - 3, ("class numbers", "-3")),
        (f"{NAME}.json", {"outcome": "fine"}, ("unknown outcome", "unusable")),
        (f"{NAME}.json", {"outcome": "labeled"}, ("needs an outcome",)),
        (f"{NAME}.json", {"outcom": "unusable"}, ("unknown key",)),
        (f"{NAME}.json", ["unusable"], ("JSON object",)),
        (f"{NAME}.json", {"outcome": "unusable", "seconds": -1}, ("seconds",)),
        ("00001-blob-0.png", whole, ("no task has this name", f"did you mean {NAME}.png")),
        (f"{NAME}.nrrd", b"NRRD0004", ("not a kind of file", ".nii.gz")),
        (f"-odd/{NAME}.png", whole, ("a rater's name",)),
        (f"consensus/{NAME}.png", whole, ("a rater's name",)),
    ]
    for name, content, words in cases:
        with subtests.test(name=name, words=words):
            path = folder / "labels" / name
            path.parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, np.ndarray):
                (tifffile.imwrite if path.suffix == ".tif" else iio.imwrite)(path, content)
            else:
                path.write_text(json.dumps(content))
            before = len(desk.ledger.events())
            assert asked[0].collect(CAMPAIGN, [asked[1]]) == ()
            text = path.with_name(path.name + ".problem.txt").read_text()
            assert all(word in text for word in words), text
            assert asked[0].collect(CAMPAIGN, [asked[1]]) == ()
            path.unlink()
            assert asked[0].collect(CAMPAIGN, [asked[1]]) == ()
            assert not path.with_name(path.name + ".problem.txt").exists()
            said = [event.action for event in desk.ledger.events(after=before)]
            assert [action for action in said if action.startswith("bridge.")] == ["bridge.refused", "bridge.cleared"]
    assert desk.ledger.submissions(CAMPAIGN) == ()


def test_a_refusal_is_everywhere_until_it_is_repaired(
    asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk
) -> None:
    path = asked[2] / "labels" / f"{NAME}.png"
    iio.imwrite(path, np.zeros((3, 3), np.uint8))
    refused(asked, desk, path, "shape (10, 12)")


def test_links_and_pipes_are_never_followed(
    asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk, tmp_path: Path
) -> None:
    oracle, query, folder = asked
    outside = tmp_path / "outside"
    outside.mkdir()
    iio.imwrite(outside / f"{NAME}.png", region())
    labels = folder / "labels"
    (labels / f"{NAME}.png").symlink_to(outside / f"{NAME}.png")
    (labels / "anna").symlink_to(outside)
    (labels / "bo").mkdir()
    os.mkfifo(labels / "bo" / f"{NAME}.png")
    assert oracle.collect(CAMPAIGN, [query]) == ()
    found = {one.source: one.problem for one in refusals(desk.ledger, CAMPAIGN)}
    assert set(found) == {"labels/anna", f"labels/{NAME}.png", f"labels/bo/{NAME}.png"}
    assert "link" in found["labels/anna"]
    assert "ordinary file" in found[f"labels/bo/{NAME}.png"]
    assert desk.ledger.submissions(CAMPAIGN) == ()


def test_a_file_somebody_writes_is_left_alone_until_it_rests(
    desk: LabellingDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, query = blobs(4), a_query("blob-00", (2, 3), (12, 15))
    oracle = bound(pool, desk, tmp_path, settle=0.3)
    oracle.ask(CAMPAIGN, [query])
    folder = tmp_path / "labelling"
    target = save(folder, NAME, region(0))
    whole = target.read_bytes()
    waits: list[float] = []

    def writes_on(seconds: float) -> None:
        waits.append(seconds)
        target.write_bytes(whole[: len(whole) // 2])  # the other program starts over while we wait

    monkeypatch.setattr("alframe.oracles.folder.oracle.time.sleep", writes_on)
    assert oracle.collect(CAMPAIGN, [query]) == ()
    assert len(waits) == 1
    assert "Still being written" in (folder / "STATUS.txt").read_text()
    assert refusals(desk.ledger, CAMPAIGN) == ()
    monkeypatch.undo()
    target.write_bytes(whole)
    (answer,) = oracle.collect(CAMPAIGN, [query])  # waits for it once
    assert answer.outcome is Outcome.EMPTY_CONFIRMED


def test_outcomes_and_reasons_come_as_json(asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk) -> None:
    oracle, query, folder = asked
    sheet = folder / "labels" / "anna" / f"{NAME}.json"
    sheet.parent.mkdir()
    sheet.write_text(json.dumps({"outcome": "unusable", "reason": "torn", "seconds": 2.5}))
    (answer,) = oracle.collect(CAMPAIGN, [query])
    assert (answer.outcome, answer.reason, answer.seconds, answer.rater) == (Outcome.UNUSABLE, "torn", 2.5, "anna")
    sheet.write_text(json.dumps({"reason": "not torn after all", "seconds": 4}))
    save(folder, NAME, region(), "anna")
    (answer,) = oracle.collect(CAMPAIGN, [query])
    assert (answer.outcome, answer.reason, answer.seconds) == (Outcome.LABELED, "not torn after all", 4.0)
    sheet.write_text(json.dumps({"outcome": "skipped"}))
    oracle.collect(CAMPAIGN, [query])
    assert "but there is a label map" in sheet.with_name(f"{NAME}.png.problem.txt").read_text()
    assert len(desk.ledger.submissions(CAMPAIGN)) == 2


def test_two_files_for_one_task_are_a_question(asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk) -> None:
    oracle, query, folder = asked
    save(folder, NAME, region(), "anna")
    tifffile.imwrite(folder / "labels" / "anna" / f"{NAME}.tif", region(0))
    assert len(oracle.collect(CAMPAIGN, [query])) == 1
    assert "keep one of them" in refusals(desk.ledger, CAMPAIGN)[0].problem


def test_several_raters_and_whom_a_task_is_for(desk: LabellingDesk, tmp_path: Path) -> None:
    pool = blobs(4)
    query = replace(a_query("blob-00", (2, 3), (12, 15), replicas=2), raters=("anna", "bo"))
    oracle = bound(pool, desk, tmp_path)
    oracle.ask(CAMPAIGN, [query])
    folder = tmp_path / "labelling"
    for rater in ("cy", "anna"):
        save(folder, NAME, region(), rater)
    assert oracle.collect(CAMPAIGN, [query]) == ()
    assert "for anna, bo" in (folder / "labels" / "cy" / f"{NAME}.png.problem.txt").read_text()
    save(folder, NAME, region(0), "bo")
    assert [answer.rater for answer in oracle.collect(CAMPAIGN, [query])] == ["anna", "bo"]


def test_a_share_that_is_not_mounted_is_no_deletion(
    asked: tuple[FolderOracle, Query, Path], desk: LabellingDesk
) -> None:
    oracle, query, folder = asked
    save(folder, NAME, region())
    oracle.collect(CAMPAIGN, [query])
    moved = folder.rename(folder.with_name("away"))
    for empty in (False, True):
        if empty:
            folder.mkdir()  # a mount point without its share
        with pytest.raises(StoreUnavailable, match="not mounted"):
            oracle.collect(CAMPAIGN, [query])
    assert not [event for event in desk.ledger.events() if event.action.startswith("bridge.")]
    (folder / "campaign.json").touch()
    assert len(oracle.collect(CAMPAIGN, [query])) == 1
    folder.rename(folder.with_name("empty"))
    moved.rename(folder)
    (folder / "images" / f"{NAME}.png").unlink()
    other = a_query("blob-01", (2, 3), (12, 15))
    oracle.ask(CAMPAIGN, [other])
    assert len(list((folder / "images").iterdir())) == 1  # what is done is not written again, what is open is


def test_a_folder_serves_one_campaign(asked: tuple[FolderOracle, Query, Path]) -> None:
    oracle, query, folder = asked
    with pytest.raises(ConflictError, match="another"):
        oracle.ask("other", [query])
    (folder / "campaign.json").write_text("[]")
    with pytest.raises(ConflictError):
        oracle.ask(CAMPAIGN, [query])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"settle": -1.0}, "settle"),
        ({"rater": "consensus"}, "rater"),
        ({"folder": " "}, "folder"),
        ({"skips": 0}, "skips"),
    ],
)
def test_impossible_parameters_are_refused(bad: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        Folder(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "dtype", "format", "suffix"),
    [
        ((1, 20, 24), "uint8", "auto", ".png"),
        ((3, 20, 24), "uint8", "auto", ".png"),
        ((1, 20, 24), "uint16", "auto", ".png"),
        ((1, 20, 24), "float32", "auto", ".tiff"),
        ((2, 20, 24), "int16", "auto", ".tiff"),
        ((3, 20, 24), "uint8", "tiff", ".tiff"),
        ((3, 20, 24), "uint8", "nifti", ".nii.gz"),
        ((1, 8, 20, 24), "int16", "auto", ".nii.gz"),
        ((2, 8, 20, 24), "float32", "auto", ".nii.gz"),
        ((1, 8, 20, 24), "uint16", "tiff", ".tiff"),
        ((1, 20, 24), "float32", "png", ""),
        ((1, 8, 20, 24), "uint8", "png", ""),
    ],
)
def test_images_of_every_kind_come_out_as_they_are(
    desk: LabellingDesk, tmp_path: Path, shape: tuple[int, ...], dtype: str, format: str, suffix: str
) -> None:
    image = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    spacing = (3.0, 0.5, 0.25)[-(len(shape) - 1) :]
    pool = MemoryPool([pool_item("a", image, spacing=spacing)])
    query = a_query("a", (2,) * (len(shape) - 1), (7,) * (len(shape) - 1))
    oracle = bound(pool, desk, tmp_path, format=format)
    if not suffix:
        with pytest.raises(InvalidValue, match="auto, tiff or nifti"):
            oracle.ask(CAMPAIGN, [query])
        return
    oracle.ask(CAMPAIGN, [query])
    path = tmp_path / "labelling" / "images" / f"00001-a{suffix}"
    crop = image[(slice(None), *query.box.slices)]
    if suffix == ".nii.gz":
        stored = nibabel.load(path)
        back = np.asarray(stored.dataobj)
        assert np.array_equal(back.T.reshape(crop.shape), crop)
        assert stored.header.get_zooms()[: len(spacing)] == spacing[::-1]
        where = stored.affine @ [0, 0, 0, 1]
        assert np.allclose(where[: len(spacing)], [2 * step for step in reversed(spacing)])
    elif suffix == ".tiff":
        back = tifffile.imread(path)
        assert np.array_equal(np.moveaxis(back, -1, 0) if back.shape[-1] == 3 else back.reshape(crop.shape), crop)
    else:
        back = iio.imread(path)
        assert np.array_equal(np.moveaxis(back, -1, 0) if back.ndim == 3 else back[None], crop)
        assert back.dtype == crop.dtype
    classes = np.zeros(query.box.shape, np.uint8)
    classes[..., 1:3] = 1
    save(tmp_path / "labelling", "00001-a", classes)
    (answer,) = oracle.collect(CAMPAIGN, [query])
    assert answer.labels is not None
    assert np.array_equal(answer.labels.classes, classes)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_volumes_that_a_program_turned_are_turned_back(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    """Against nibabel's own reorientation."""
    rng = np.random.default_rng(1)
    info = ItemInfo(
        id="a", shape=(9, 8, 7), channels=1, dtype="uint8", split="train", group="a", spacing=(2.0, 0.5, 1.0)
    )  # type: ignore[arg-type]
    box = a_query("a", (1, 2, 3), (5, 7, 6)).box
    labels = rng.integers(0, 3, box.shape).astype(np.uint8)
    wanted = info.to_world(box.start)
    image = nibabel.Nifti1Image(labels.T, wanted)
    turned = image.as_reoriented(np.array(list(zip(order, signs, strict=True)), float))
    stored = tuple(turned.affine[:3].ravel())
    assert np.array_equal(onto(np.asarray(turned.dataobj).T, stored, wanted), labels)
    assert np.array_equal(onto(labels, (), wanted), labels)
    moved = turned.affine.copy()
    moved[0, 3] += 0.5
    scaled = turned.affine @ np.diag([1.1, 1, 1, 1])
    for wrong in (moved, scaled):
        with pytest.raises(InvalidValue, match="another grid"):
            onto(np.asarray(turned.dataobj).T, tuple(wrong[:3].ravel()), wanted)


def test_a_region_lies_in_the_scan_and_its_labels_come_back(desk: LabellingDesk, tmp_path: Path) -> None:
    """As ITK-SNAP and 3D Slicer see it: in millimetres, by either matrix of the header."""
    image = np.random.default_rng(0).integers(0, 200, (1, 12, 10, 9)).astype(np.int16)
    turn = np.array([[0.8, -0.6, 0], [-0.6, -0.8, 0], [0, 0, 1]]) @ np.diag([0.5, 0.75, 3])
    scan = nibabel.Nifti1Image(image[0].T, nibabel.affines.from_matvec(turn, [120, -80, 33]))
    item = pool_item("a", image, spacing=(3.0, 0.75, 0.5), affine=scan.affine[:3].ravel())
    query = a_query("a", (2, 3, 1), (7, 9, 8))
    oracle = bound(MemoryPool([item]), desk, tmp_path)
    oracle.ask(CAMPAIGN, [query])
    shown = nibabel.load(tmp_path / "labelling" / "images" / "00001-a.nii.gz")
    for matrix in (shown.get_sform(), shown.get_qform()):
        for corner in ([0, 0, 0], [6, 5, 4]):
            here = nibabel.affines.apply_affine(matrix, corner)
            assert np.allclose(here, nibabel.affines.apply_affine(scan.affine, np.add(corner, [1, 3, 2])), atol=1e-4)
    classes = np.zeros(query.box.shape, np.uint8)
    classes[1, 2:4, 5] = 1
    turned = nibabel.Nifti1Image(classes.T, shown.affine).as_reoriented(np.array([[1, -1], [2, 1], [0, 1]]))
    nibabel.save(turned, tmp_path / "labelling" / "labels" / "00001-a.nii.gz")
    (answer,) = oracle.collect(CAMPAIGN, [query])
    assert answer.labels is not None
    assert np.array_equal(answer.labels.classes, classes)


def test_the_script_of_the_page_labels_what_is_there(asked: tuple[FolderOracle, Query, Path], repository: Path) -> None:
    oracle, query, folder = asked
    (script,) = [block for block in blocks(repository / "docs" / "how-to" / "folder.md") if block.language == "python"]
    names: dict[str, Any] = {}
    exec(script.text, names)
    names["threshold"](folder, "script", 150)
    (answer,) = oracle.collect(CAMPAIGN, [query])
    assert answer.labels is not None
    assert np.array_equal(answer.labels.classes, blobs(4).image("blob-00", query.box)[0] > 150)


def test_names_are_portable_and_in_order(desk: LabellingDesk, tmp_path: Path) -> None:
    image = np.zeros((1, 8, 8), np.uint8)
    items = ["../../etc/passwd", "CON", "ä/ö ü", "x" * 200, "a.b"]
    pool = MemoryPool([pool_item(item, image) for item in items])
    bound(pool, desk, tmp_path).ask(CAMPAIGN, [a_query(item, (0, 0), (8, 8)) for item in items])
    names = sorted(path.name for path in (tmp_path / "labelling" / "images").iterdir())
    assert names == [
        "00001-etc_passwd.png",
        "00002-CON.png",
        "00003-item.png",
        f"00004-{'x' * 80}.png",
        "00005-a.b.png",
    ]
    assert [name_of(task) + ".png" for task in desk.ledger.tasks(CAMPAIGN)] == names
    assert list((tmp_path / "labelling" / "context").iterdir()) == []  # whole images need none


def test_a_campaign_through_the_folder_ends_with_the_labels_of_the_simulated_one(tmp_path: Path) -> None:
    """Two rounds after the first; a new process at each wait, somebody else on the second half of the tasks."""
    pool = blobs(raters=2)
    simulated = small_campaign(
        tmp_path / "simulated", InlineExecutor(), pool=pool, oracle=Simulated(rater="rater0").bind(pool)
    )
    assert simulated.run().status == "done"
    folder = tmp_path / "people"
    with SqlLabelling(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(folder / "artifacts"))
        drawn = []
        for _ in range(10):
            oracle = bound(pool, desk, folder)
            campaign = small_campaign(folder, InlineExecutor(), pool=pool, oracle=oracle)
            standing = campaign.run()
            if standing.status != "waiting":
                break
            drawn.append(draw(pool, folder / "labelling", "", "rater0"))
        assert standing.status == "done"
        assert drawn == [2, 4, 4]
        decisions = [
            [(a.query, a.outcome, a.mask) for a in c.parts.ledger.answers("small")] for c in (campaign, simulated)
        ]
        assert decisions[0] == decisions[1]
        assert len(list((folder / "labelling" / "prefill").iterdir())) == 8
        assert verify(ledger, desk.artifacts).problems == ()
