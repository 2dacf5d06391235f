"""Exports read back by the libraries that other tools use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import nibabel
import numpy as np
import pyarrow.parquet
import pytest
import safetensors.numpy
import tifffile
from pycocotools import mask as coco

from alframe.composition import CommittedLabels
from alframe.errors import ConflictError, InvalidValue, NotFound
from alframe.report import exports, maps
from alframe.report.maps import MapFormat
from alframe.testing.fake_campaign import Recorded, glands, open_campaign, record
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.testing.pixel_learner import PixelLearner, PixelPredictor
from alframe.types import Candidates, Compute, LabelMap


def committed(home: Recorded) -> CommittedLabels:
    return CommittedLabels(pool=home.pool, artifacts=home.artifacts, answers=home.ledger.answers(home.names[0]))


def read(path: Path) -> np.ndarray:
    if path.name.endswith(".nii.gz"):
        return np.asarray(nibabel.load(path).dataobj).T  # type: ignore[attr-defined]
    return np.asarray(tifffile.imread(path) if path.suffix == ".tiff" else iio.imread(path))


def predictor(home: Recorded) -> PixelPredictor:
    stored = home.ledger.artifacts(home.names[0], 1)
    return PixelLearner(passes=4).predictor([home.artifacts.get(stored["member/0"])], Compute())


@pytest.mark.parametrize(("format", "suffix"), [("png", ".png"), ("tiff", ".tiff"), ("nifti", ".nii.gz")])
def test_labels_come_back_as_they_were_composed(
    format: MapFormat, suffix: str, slides: Recorded, tmp_path: Path
) -> None:
    folder = exports.labels(
        slides.ledger, slides.artifacts, slides.pool, slides.names[0], tmp_path / "out", format=format
    )
    known = committed(slides)
    for item in known.items():
        expected = known.labels(item)
        assert expected.instances is not None
        np.testing.assert_array_equal(read(folder / f"{item}{suffix}"), expected.classes)
        np.testing.assert_array_equal(read(folder / f"{item}_instances{suffix}"), expected.instances)
    about = json.loads((folder / "labels.json").read_text())
    assert sorted(about["items"]) == list(known.items())
    assert about["classes"] == list(slides.pool.classes)
    assert len(list(folder.iterdir())) == 2 * len(known.items()) + 1


@pytest.mark.parametrize(("format", "suffix"), [("tiff", ".tiff"), ("nifti", ".nii.gz")])
def test_volumes_keep_their_axes_and_their_place(
    format: MapFormat, suffix: str, scans: Recorded, tmp_path: Path
) -> None:
    folder = exports.labels(scans.ledger, scans.artifacts, scans.pool, scans.names[0], tmp_path / "out", format=format)
    known = committed(scans)
    item = known.items()[0]
    np.testing.assert_array_equal(read(folder / f"{item}{suffix}"), known.labels(item).classes)
    if format == "nifti":
        image = nibabel.load(folder / f"{item}{suffix}")
        np.testing.assert_allclose(image.header.get_zooms(), (1.0, 1.0, 2.0), rtol=1e-6)  # type: ignore[attr-defined]
        lies = np.vstack([np.reshape(scans.pool.info(item).affine, (3, 4)), [0, 0, 0, 1]])
        for matrix in (image.get_sform(), image.get_qform()):  # type: ignore[attr-defined]
            np.testing.assert_allclose(matrix, lies, atol=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"  # type: ignore[attr-defined]
        assert image.shape == known.labels(item).shape[::-1]  # type: ignore[attr-defined]


# pycocotools 2.0 wraps its result in an array class from before NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_coco_holds_every_object_as_pycocotools_reads_it(slides: Recorded, tmp_path: Path) -> None:
    folder = exports.labels(
        slides.ledger, slides.artifacts, slides.pool, slides.names[0], tmp_path / "out", format="coco"
    )
    data = json.loads((folder / "annotations.json").read_text())
    known = committed(slides)
    assert [image["item"] for image in data["images"]] == list(known.items())
    assert data["categories"] == [{"id": 1, "name": "gland"}]
    assert len({one["id"] for one in data["annotations"]}) == len(data["annotations"])
    for image in data["images"]:
        expected = known.labels(image["item"])
        assert expected.instances is not None
        np.testing.assert_array_equal(decode(image["annotated"]), expected.annotated)
        of_image = [one for one in data["annotations"] if one["image_id"] == image["id"]]
        masks = [decode(one["segmentation"]) for one in of_image]
        objects = [expected.instances == n for n in np.unique(expected.instances) if n > 0]
        assert len(masks) == len(objects)
        for one, mask, same in zip(of_image, masks, objects, strict=True):
            np.testing.assert_array_equal(mask, same)
            assert one["area"] == same.sum()
            theirs = coco.toBbox(coco.encode(np.asfortranarray(same.astype(np.uint8))))
            assert one["bbox"] == [int(value) for value in theirs]
            assert one["iscrowd"] == 0


def decode(segmentation: dict[str, object]) -> np.ndarray:
    counts = str(segmentation["counts"]).encode()
    flat: np.ndarray = coco.decode([{"size": segmentation["size"], "counts": counts}])
    return np.asarray(flat)[..., 0].astype(bool)


@pytest.mark.parametrize("format", ["png", "coco"])
def test_volumes_do_not_fit_flat_formats(format: MapFormat, scans: Recorded, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="choose tiff or nifti"):
        exports.labels(scans.ledger, scans.artifacts, scans.pool, scans.names[0], tmp_path / "out", format=format)
    assert not list(tmp_path.iterdir())


def test_predictions_are_the_most_probable_class(slides: Recorded, tmp_path: Path) -> None:
    items = [info.id for info in slides.pool.items()][:3]
    seen: list[tuple[int, int]] = []
    folder = exports.predictions(
        slides.pool, predictor(slides), items, tmp_path / "out", seed=4, progress=lambda *step: seen.append(step)
    )
    again = exports.predictions(slides.pool, predictor(slides), items, tmp_path / "again", seed=4)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for item in items:
        found = read(folder / f"{item}.png")
        assert found.shape == slides.pool.info(item).shape
        assert found.max() < len(slides.pool.classes)
        truth = slides.pool.truth(item).classes
        assert (found == truth).mean() > 0.8
        np.testing.assert_array_equal(found, read(again / f"{item}.png"))


def test_scores_hold_the_chosen_boxes(slides: Recorded, tmp_path: Path) -> None:
    name = slides.names[0]
    folder = exports.scores(slides.ledger, slides.artifacts, name, tmp_path / "scores")
    for index in (1, 2, 3):
        tables = [pyarrow.parquet.read_table(path) for path in sorted(folder.glob(f"round-{index:03d}-*.parquet"))]
        columns = {key: np.concatenate([np.asarray(t[key]) for t in tables]) for key in tables[0].column_names}
        rows = Candidates.from_columns(columns)
        offered = {(str(rows.item[i]), rows.box(i)): rows.score[i] for i in range(len(rows))}
        queries = slides.ledger.queries(name, index)
        assert queries
        assert all(offered[query.item, query.box] == query.score for query in queries)


def test_the_model_is_the_last_round_s_or_the_one_asked_for(slides: Recorded, tmp_path: Path) -> None:
    name = slides.names[0]
    last = max(record.index for record in slides.ledger.rounds(name))
    for wanted, index in ((None, last), (1, 1)):
        folder = exports.model(slides.ledger, slides.artifacts, name, tmp_path / f"model-{index}", round=wanted)
        stored = slides.artifacts.get(slides.ledger.artifacts(name, index)["member/0"])
        assert (folder / "member-0.safetensors").read_bytes() == stored
        assert "weights" in safetensors.numpy.load_file(folder / "member-0.safetensors")
        about = json.loads((folder / "model.json").read_text())
        assert (about["campaign"], about["round"]) == (name, index)
    with pytest.raises(NotFound, match="no model in round 0"):
        exports.model(slides.ledger, slides.artifacts, name, tmp_path / "none", round=0)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    home = record(tmp_path / "home", glands(8, 48), {})
    from alframe.strategies import Random

    open_campaign(home, "new", Random(), config="name: new\n")
    for export in (
        lambda: exports.labels(home.ledger, home.artifacts, home.pool, "new", tmp_path / "a"),
        lambda: exports.scores(home.ledger, home.artifacts, "new", tmp_path / "a"),
        lambda: exports.model(home.ledger, home.artifacts, "new", tmp_path / "a"),
        lambda: exports.labels(home.ledger, home.artifacts, home.pool, "old", tmp_path / "a"),
    ):
        with pytest.raises(NotFound):
            export()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_nothing_is_overwritten_and_a_failed_export_leaves_nothing(slides: Recorded, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    arguments = (slides.ledger, slides.artifacts, slides.pool, slides.names[0])
    with pytest.raises(ConflictError, match="not an empty folder"):
        exports.labels(*arguments, taken)
    with pytest.raises(InvalidValue, match="export fewer items"):
        exports.labels(*arguments, tmp_path / "large", max_bytes=1000)
    with pytest.raises(InvalidValue, match="png, tiff, nifti, coco"):
        exports.labels(*arguments, tmp_path / "other", format="gif")  # type: ignore[arg-type]

    def fail(done: int, total: int) -> None:
        raise RuntimeError(f"stopped after {done} of {total}")

    with pytest.raises(RuntimeError):
        exports.predictions(
            slides.pool, predictor(slides), ["slide-000", "slide-001"], tmp_path / "half", progress=fail
        )
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert any(exports.labels(*arguments, empty).iterdir())


def test_names_become_portable_and_stay_apart(tmp_path: Path) -> None:
    image = np.zeros((1, 4, 4), np.uint8)
    names = ["a/b", "a:b", "A_b", "../../etc/x", "labels", "scan", "scan_instances", "ünï", "…"]
    pool = MemoryPool([pool_item(name, image) for name in names])
    found = maps.file_names([info.id for info in pool.items()])
    assert len({name.lower() for name in found.values()}) == len(names)
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in found.values()
    )
    assert not any(name.startswith(".") or "/" in name for name in found.values())
    assert "labels" not in {name.lower() for name in found.values()}
    others = {f"{name.lower()}_instances" for name in found.values()}
    assert not others & {name.lower() for name in found.values()}


def test_more_objects_than_png_can_number_are_refused(slides: Recorded, tmp_path: Path) -> None:
    many = np.zeros((4, 4), np.int32)
    many[0, 0] = 70_000
    info = replace(slides.pool.items()[0], shape=(4, 4))
    one = maps.ItemMap(info=info, labels=LabelMap(classes=(many > 0).astype(np.uint8), instances=many))
    with pytest.raises(InvalidValue, match=r"70,000"):
        maps.write_maps([one], [info], ["a", "b"], tmp_path / "out", "png", 2**30)
    assert not list(tmp_path.iterdir())
    folder = maps.write_maps([one], [info], ["a", "b"], tmp_path / "out", "tiff", 2**30)
    np.testing.assert_array_equal(read(folder / f"{info.id}_instances.tiff"), many)
