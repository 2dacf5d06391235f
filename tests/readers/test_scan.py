"""A data set is checked as a whole: everything wrong is named at once, and nothing is written."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from alframe.errors import DataError, InvalidValue
from alframe.readers import DataSettings, Limits, SplitSettings, scan
from alframe.readers.splits import divide
from alframe.types import Split

CLASSES = ("background", "gland")


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, array.astype(np.uint8))


def sound(root: Path, count: int = 6) -> dict:
    """A good data set of `count` images, and the settings that read it."""
    rng = np.random.default_rng(0)
    for k in range(count):
        write(root / f"images/p{k // 2}_{k}.png", rng.integers(0, 256, (8, 10, 3)))
        write(root / f"masks/p{k // 2}_{k}.png", rng.integers(0, 2, (8, 10)))
    return {"root": str(root), "images": "images/*.png", "masks": "masks/*.png", "classes": CLASSES}


def table(root: Path, *rows: str) -> None:
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")


def problems(settings: dict) -> list[str]:
    with pytest.raises(DataError) as caught:
        scan(DataSettings(**settings))
    assert all(problem.where and problem.expected and problem.found for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_set(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    seen: list[tuple[int, int]] = []
    items = scan(DataSettings(**settings), progress=lambda done, total: seen.append((done, total)))
    assert [item.info.id for item in items] == ["p0_0", "p0_1", "p1_2", "p1_3", "p2_4", "p2_5"]
    assert seen == [(k, 6) for k in range(1, 7)]
    for item in items:
        arrays = item.load()
        image = iio.imread(tmp_path / f"images/{item.info.id}.png")
        np.testing.assert_array_equal(arrays.image, image.transpose(2, 0, 1))
        mask = iio.imread(tmp_path / f"masks/{item.info.id}.png")
        np.testing.assert_array_equal(arrays.truth["expert"].classes, mask)
        assert (item.info.shape, item.info.channels, item.info.dtype) == ((8, 10), 3, "uint8")


Breakage = Callable[[Path, dict], None]


def size_differs(root: Path, settings: dict) -> None:
    write(root / "masks/p0_1.png", np.zeros((8, 9)))


def unknown_class(root: Path, settings: dict) -> None:
    write(root / "masks/p0_1.png", np.full((8, 10), 255))


def unreadable(root: Path, settings: dict) -> None:
    whole = (root / "images/p0_1.png").read_bytes()
    (root / "images/p0_1.png").write_bytes(whole[: len(whole) // 2])


def duplicate(root: Path, settings: dict) -> None:
    write(root / "images/more/p0_1.png", np.zeros((8, 10, 3)))
    settings["images"] = "images/**/*.png"


def not_finite(root: Path, settings: dict) -> None:
    image = np.ones((8, 10, 3), np.float32)
    image[3, 4, 1] = np.nan
    image[5, 5, 2] = np.inf
    (root / "images/p0_1.png").unlink()
    tifffile.imwrite(root / "images/p0_1.tif", image, photometric="rgb")
    settings["images"] = "images/*"


def wrong_axes(root: Path, settings: dict) -> None:
    (root / "images/p0_1.png").unlink()
    (root / "masks/p0_1.png").unlink()
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), root / "images/p0_1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), root / "masks/p0_1.nii.gz")
    settings |= {"images": "images/*", "masks": "masks/*"}


def bomb(root: Path, settings: dict) -> None:
    write(root / "images/p0_1.png", np.zeros((100, 100, 3)))
    settings["limits"] = Limits(pixels=10_000)


def no_mask(root: Path, settings: dict) -> None:
    (root / "masks/p0_1.png").rename(root / "masks/p0_1b.png")


def not_whole(root: Path, settings: dict) -> None:
    (root / "masks/p0_1.png").unlink()
    tifffile.imwrite(root / "masks/p0_1.tif", np.full((8, 10), 0.5, np.float32))
    settings["masks"] = "masks/*"


def link(root: Path, settings: dict) -> None:
    (root / "secret.png").write_bytes((root / "images/p0_1.png").read_bytes())
    (root / "images/p0_1.png").unlink()
    (root / "images/p0_1.png").symlink_to(root / "secret.png")


def channels(root: Path, settings: dict) -> None:
    write(root / "images/p0_1.png", np.zeros((8, 10)))


def jpeg_mask(root: Path, settings: dict) -> None:
    (root / "masks/p0_1.png").unlink()
    write(root / "masks/p0_1.jpg", np.zeros((8, 10)))
    settings["masks"] = "masks/*"


def missing_file(root: Path, settings: dict) -> None:
    (root / "images/p0_1.png").unlink()
    csv_of(root, settings)


def path_escape(root: Path, settings: dict) -> None:
    csv_of(root, settings, image="../other/p0_1.png")


def absolute_path(root: Path, settings: dict) -> None:
    csv_of(root, settings, image="/etc/passwd")


def duplicate_row(root: Path, settings: dict) -> None:
    csv_of(root, settings)
    with (root / "manifest.csv").open("a") as file:
        file.write("p0_1,images/p0_0.png,masks/p0_0.png,p9,train\n")


def group_in_two_splits(root: Path, settings: dict) -> None:
    csv_of(root, settings, group="p2")


def unknown_split(root: Path, settings: dict) -> None:
    csv_of(root, settings, split="dev")


def no_group(root: Path, settings: dict) -> None:
    csv_of(root, settings, group="")


def csv_of(root: Path, settings: dict, image: str = "images/p0_1.png", group: str = "p0", split: str = "train") -> None:
    """The same set by a CSV, with the given cells for p0_1."""
    del settings["images"], settings["masks"]
    settings["manifest"] = "manifest.csv"
    rows = ["id,image,mask,group,split", f"p0_1,{image},masks/p0_1.png,{group},{split}"]
    for path in sorted((root / "masks").iterdir()):
        name = path.stem
        if name != "p0_1":
            part = {"p0": "train", "p1": "val", "p2": "test"}[name[:2]]
            rows.append(f"{name},images/{name}.png,masks/{name}.png,{name[:2]},{part}")
    table(root, *rows)


BROKEN: list[tuple[Breakage, tuple[str, ...]]] = [
    (size_differs, ("(8, 10)", "(8, 9)", "another image")),
    (unknown_class, ("class ids 0 to 1", "255", "`values`")),
    (unreadable, ("readable image", "truncated", "complete")),
    (duplicate, ("one file of this name", "images/more/p0_1.png", "Rename")),
    (not_finite, ("finite", "2 NaN", "(1, 3, 4)")),
    (wrong_axes, ("2 spatial axes", "shape (6, 5, 4)")),
    (bomb, ("at most 10,000 values", "30,000", "limits")),
    (no_mask, ("a mask by expert", "p0_1b", "masks_required")),
    (not_whole, ("whole numbers", "0.5", "nearest")),
    (link, ("symbolic link", "inside the data folder")),
    (channels, ("3 channels", "1 channels")),
    (jpeg_mask, ("lossless", "JPEG changes pixel values")),
    (missing_file, ("no file images/p0_1.png", "inside the data folder")),
    (path_escape, ("leaves the data folder", "../other")),
    (absolute_path, ("leaves the data folder", "/etc/passwd")),
    (duplicate_row, ("one row of this id", "line 8")),
    (group_in_two_splits, ("group p2", "one split", "shared_groups")),
    (unknown_split, ("train, val, test", "dev")),
    (no_group, ("a group by group", "none")),
]


@pytest.mark.parametrize(("breakage", "words"), BROKEN, ids=[case[0].__name__ for case in BROKEN])
def test_a_broken_set_names_the_item_and_what_to_do(tmp_path: Path, breakage: Breakage, words: tuple[str, ...]) -> None:
    settings = sound(tmp_path)
    breakage(tmp_path, settings)
    before = sorted(tmp_path.rglob("*"))
    said = problems(settings)
    item = "group p2" if breakage is group_in_two_splits else "p0_1"
    assert any(item in text and all(word in text for word in words) for text in said), said
    assert len(said) == 1, said
    assert sorted(tmp_path.rglob("*")) == before


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    settings = sound(tmp_path, 12)
    size_differs(tmp_path, settings)
    write(tmp_path / "masks/p1_2.png", np.full((8, 10), 7))
    (tmp_path / "images/p1_3.png").write_bytes(b"")
    (tmp_path / "masks/p2_4.png").unlink()
    said = problems(settings)
    assert [text.split(" ")[0].rstrip(":") for text in said] == ["p2_4", "p0_1", "p1_2", "p1_3"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"root": "/nowhere/at/all"}, ("a folder", "/nowhere")),
        ({"images": "pictures/*.png"}, ("files like pictures/*.png", "none below")),
        ({"masks": "labels/*.png"}, ("masks of expert", "labels/*.png")),
        ({"images": "../*.png"}, ("below the data folder",)),
        ({"images": "images/{patient}.png"}, ("{id}", "manifest")),
        ({"images": "images/*.txt"}, ("none below",)),
        ({"spacing": (1.0, 1.0, 1.0)}, ("as many axes as `spacing`", "(8, 10)")),
        ({"axes": "ZYX"}, ("ZYX",)),
        ({"groups": "("}, ("regular expression",)),
        ({"groups": "p[0-9]"}, ("one (group)",)),
        ({"groups": "(x[0-9])"}, ("a group by (x[0-9])",)),
        ({"groups": "^(p)"}, ("a group for each of train, val, test", "1 groups")),
        ({"manifest": "none.csv"}, ("CSV file", "no file none.csv")),
    ],
)
def test_a_wrong_description_is_explained(tmp_path: Path, change: dict, words: tuple[str, ...]) -> None:
    said = problems(sound(tmp_path) | change)
    assert any(all(word in text for word in words) for text in said), said


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["id,image,mask_anna", "a,images/p0_0.png,masks/p0_0.png"], ("mask:<rater>", "mask_anna", "mask:anna")),
        (["id,picture,mask", "a,images/p0_0.png,masks/p0_0.png"], ("a column image", "picture")),
        (["case,image,mask", "a,images/p0_0.png,masks/p0_0.png"], ("a column id", "case")),
        (["id,image,mask", "a,images/p0_0.png"], ("3 cells", "manifest.csv:2", "found 2")),
        (["id,image,image", "a,b,c"], ("different names", "manifest.csv:1")),
        (["id,image,mask"], ("at least one row",)),
        (["id,image,mask", "a,,masks/p0_0.png"], ("an image", "empty cell")),
        (["id,image,mask", "a,images/p0_0.png,"], ("a mask by expert",)),
        (["id,image,mask", "../a,images/p0_0.png,masks/p0_0.png"], ("without slashes", "manifest.csv:2")),
        (["id,image,mask", '"a,images/p0_0.png'], ("CSV",)),
    ],
)
def test_a_wrong_csv_is_explained(tmp_path: Path, rows: list[str], words: tuple[str, ...]) -> None:
    sound(tmp_path)
    table(tmp_path, *rows)
    said = problems({"root": str(tmp_path), "manifest": "manifest.csv", "classes": CLASSES})
    assert any(all(word in text for word in words) for text in said), said


def test_a_column_that_a_pattern_names_must_exist(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    csv_of(tmp_path, settings)
    said = problems(settings | {"masks": {"anna": "{mask_ana}", "bo": "{mask}"}})
    assert len(said) == 1
    assert "a column mask_ana" in said[0]
    assert "Did you mean mask?" in said[0]


def test_csv_in_another_dialect(tmp_path: Path) -> None:
    sound(tmp_path)
    text = "\ufeffname;mask:bo;mask:anna;image\r\n" + "".join(
        f"{name};masks/{name}.png;{'' if name == 'p0_0' else f'masks/{name}.png'};images/{name}.png\r\n"
        for name in ("p0_0", "p1_2", "p2_4")
    )
    (tmp_path / "manifest.csv").write_bytes(text.encode())
    settings = DataSettings(root=str(tmp_path), manifest="manifest.csv", classes=CLASSES, masks_required="any")
    raters = {item.info.id: item.info.raters for item in scan(settings)}
    assert raters == {"p0_0": ("bo",), "p1_2": ("bo", "anna"), "p2_4": ("bo", "anna")}


def test_braces_give_the_id(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / f"case{k}/scan_{k}_image.png", np.zeros((5, 5)))
        write(tmp_path / f"case{k}/scan_{k}_mask.png", np.zeros((5, 5)))
    settings = DataSettings(
        root=str(tmp_path), images="*/scan_{id}_image.png", masks="*/scan_{id}_mask.png", classes=CLASSES
    )
    assert [item.info.id for item in scan(settings)] == ["0", "1", "2"]


def test_values_are_mapped_and_ignored(tmp_path: Path) -> None:
    settings = sound(tmp_path, 3)
    for k, name in enumerate(["p0_0", "p0_1", "p1_2"]):
        write(
            tmp_path / f"masks/{name}.png", np.array([[0, 128, 255], [7, 128, k]]).repeat(4, 0)[:, [0, 1, 2] * 3 + [0]]
        )
    values = {0: "background", 1: 0, 2: "background", 128: "gland", 255: "ignore", 7: 1}
    for item in scan(DataSettings(**settings, values=values)):
        mask = iio.imread(tmp_path / f"masks/{item.info.id}.png")
        expected = np.select([mask == 128, mask == 7, mask == 255], [1, 1, 255], 0)
        np.testing.assert_array_equal(item.load().truth["expert"].classes, expected)
    del values[7]
    assert "the values 0, 1, 2, 128, 255, found unknown 7" in problems(settings | {"values": values})[0]


def test_instances_beyond_255_with_ignored_numbers(tmp_path: Path) -> None:
    settings = sound(tmp_path, 3)
    objects = np.arange(80, dtype=np.uint16).reshape(8, 10) * 700
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), objects)
    settings |= {"masks": "masks/*.tif", "instances": True, "values": {700: "ignore"}}
    labels = scan(DataSettings(**settings))[0].load().truth["expert"]
    expected = objects.astype(np.int32)
    expected[0, 1] = 0
    np.testing.assert_array_equal(labels.instances, expected)
    classes = (expected > 0).astype(np.uint8)
    classes[0, 1] = 255
    np.testing.assert_array_equal(labels.classes, classes)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([1, 1, 2, 1.0]), ("spacing", "(2.0, 1.0, 1.0)")),
        (np.diag([-1, 1, 1, 1.0]), ("orientation RAS", "LAS")),
    ],
)
def test_a_mask_on_another_grid_is_refused(tmp_path: Path, affine: np.ndarray, words: tuple[str, ...]) -> None:
    for k in range(3):
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / f"i{k}.nii")
        grid = affine if k == 1 else np.eye(4)
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), grid), tmp_path / f"m{k}.nii")
    said = problems({"root": str(tmp_path), "images": "i{id}.nii", "masks": "m{id}.nii", "classes": CLASSES})
    assert len(said) == 1
    assert said[0].startswith("1 (m1.nii")
    assert all(word in said[0] for word in words)


@pytest.mark.parametrize("spacing", [(), (4.0, 1.5, 0.25)])
def test_volumes_keep_their_place_in_space(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    turn = np.array([[0.0, -1, 0], [0.6, 0, -0.8], [0.8, 0, 0.6]])
    lies = nibabel.affines.from_matvec(turn @ np.diag([0.5, 0.75, 2]), [10, -20, 30.5])
    for k in range(3):
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), lies), tmp_path / f"i{k}.nii")
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), lies), tmp_path / f"m{k}.nii")
    said = {"root": str(tmp_path), "images": "i{id}.nii", "masks": "m{id}.nii", "classes": CLASSES}
    (first, *_) = scan(DataSettings(**said, spacing=spacing))
    expected = nibabel.affines.from_matvec(turn @ np.diag(spacing[::-1] or [0.5, 0.75, 2]), [10, -20, 30.5])
    np.testing.assert_allclose(first.info.to_world(), expected, atol=1e-5)
    corner = nibabel.affines.apply_affine(first.info.to_world((1, 2, 3)), [0, 0, 0])  # start (z, y, x)
    np.testing.assert_allclose(corner, nibabel.affines.apply_affine(expected, [3, 2, 1]), atol=1e-5)


def test_without_a_matrix_the_grid_is_the_space(tmp_path: Path) -> None:
    (first, *_) = scan(DataSettings(**sound(tmp_path, 3), spacing=(0.5, 0.25)))
    assert first.info.affine == ()
    np.testing.assert_array_equal(
        first.info.to_world((2, 4)), [[0.25, 0, 0, 1], [0, 0.5, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    )


def test_validation_is_carved_from_train_by_group(tmp_path: Path) -> None:
    settings = sound(tmp_path, 40)
    del settings["images"], settings["masks"]
    rows = [f"p{k // 2}_{k},images/p{k // 2}_{k}.png,masks/p{k // 2}_{k}.png,p{k // 2}" for k in range(40)]
    table(
        tmp_path, "id,image,mask,group,set", *(f"{row},{'Training' if k < 30 else 'X'}" for k, row in enumerate(rows))
    )
    splits = SplitSettings(column="set", names={"X": "test"}, validation=0.2)
    items = scan(DataSettings(**settings, manifest="manifest.csv", splits=splits))
    assert Counter(item.info.split for item in items) == {Split.TRAIN: 24, Split.VALIDATION: 6, Split.TEST: 10}
    assert all((int(item.info.id.split("_")[1]) >= 30) == (item.info.split == Split.TEST) for item in items)
    by_group = {(item.info.group, item.info.split) for item in items}
    assert len(by_group) == 20


def test_evaluation_items_need_a_mask(tmp_path: Path) -> None:
    settings = sound(tmp_path, 3)
    settings["masks"] = ""
    said = problems(settings)
    assert len(said) == 2
    assert all("because it is in the split" in text for text in said)
    items = scan(DataSettings(**settings, splits=SplitSettings(train=1, val=0, test=0)))
    assert [item.info.raters for item in items] == [()] * 3


def test_a_file_that_changes_after_the_check_is_noticed(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    items = scan(DataSettings(**settings))
    unknown_class(tmp_path, settings)
    with pytest.raises(DataError, match="p0_1"):
        items[1].load()


@pytest.mark.parametrize(
    "fields",
    [
        {"classes": ("one",)},
        {"classes": ("a", "a")},
        {"classes": ("a", "ignore")},
        {"images": ""},
        {"axes": "XX"},
        {"axes": "TYX"},
        {"spacing": (0.0, 1.0)},
        {"values": {1: "unknown"}},
        {"values": {1: 2}},
        {"instances": True, "classes": ("a", "b", "c")},
        {"instances": True, "values": {1: "gland"}},
        {"masks": {"": "x"}},
    ],
)
def test_settings_that_contradict_themselves(fields: dict) -> None:
    with pytest.raises(InvalidValue):
        DataSettings(**({"classes": CLASSES, "images": "*.png"} | fields))


@pytest.mark.parametrize("fields", [{"train": 0.5}, {"train": 0, "val": 0.5, "test": 0.5}, {"names": {"a": "b"}}])
def test_splits_that_are_none(fields: dict) -> None:
    with pytest.raises(InvalidValue):
        SplitSettings(**fields)


@given(
    sizes=st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 30), min_size=3, max_size=60),
    seed=st.integers(0, 99),
    train=st.floats(0.3, 0.9),
    share=st.floats(0.0, 1.0),
)
def test_division_properties(sizes: dict[str, int], seed: int, train: float, share: float) -> None:
    fractions = {Split.TRAIN: train, Split.VALIDATION: (1 - train) * share, Split.TEST: (1 - train) * (1 - share)}
    given_splits = divide(sizes, fractions, seed)
    assert set(given_splits) == set(sizes)
    wanted = {split for split, part in fractions.items() if part > 0}
    assert set(given_splits.values()) == wanted
    backwards = dict(reversed(list(sizes.items())))
    assert divide(backwards, fractions, seed) == given_splits
    total = sum(sizes.values())
    for split in wanted:
        got = sum(sizes[group] for group in sizes if given_splits[group] == split)
        assert abs(got - fractions[split] * total) <= 2 * max(sizes.values())


def test_division_depends_on_the_seed() -> None:
    sizes = {f"g{k}": 1 for k in range(30)}
    halves = {Split.TRAIN: 0.5, Split.TEST: 0.5}
    assert len({tuple(sorted(divide(sizes, halves, seed).items())) for seed in range(5)}) == 5
    with pytest.raises(InvalidValue, match="1 groups"):
        divide({"only": 9}, halves, 0)


def test_glas(real_data: Path) -> None:
    settings = DataSettings(
        root=str(real_data / "glas"),
        manifest="index.csv",
        images="images/{id}.png",
        masks="masks/{id}.png",
        classes=CLASSES,
        instances=True,
        groups="patient",
        splits=SplitSettings(shared_groups=True),
    )
    items = scan(settings)
    assert Counter(item.info.split for item in items)[Split.TEST] == 80
    assert len(items) == 165
    train = {item.info.group for item in items if item.info.split == Split.TRAIN}
    assert not train & {item.info.group for item in items if item.info.split == Split.VALIDATION}
    strict = settings.splits.__class__()
    with pytest.raises(DataError, match="shared_groups"):
        scan(DataSettings(**{name: getattr(settings, name) for name in settings.__slots__} | {"splits": strict}))


def test_lidc(real_data: Path) -> None:
    raters = {f"rater{k}": f"rater{k}/{{id}}.png" for k in range(4)}
    settings = DataSettings(
        root=str(real_data / "lidc"),
        manifest="index.csv",
        images="images/{id}.png",
        masks=raters,
        classes=("background", "nodule"),
        values={0: "background", 255: "nodule"},
        groups="patient",
    )
    items = scan(settings)
    assert len(items) == 800
    assert {item.info.raters for item in items} == {tuple(raters)}
    assert {int(item.load().truth["rater0"].classes.max()) for item in items[:40]} <= {0, 1}


def test_hippocampus(real_data: Path) -> None:
    settings = DataSettings(
        root=str(real_data / "hippocampus"),
        images="images/*.nii.gz",
        masks="labels/*.nii.gz",
        classes=("background", "anterior", "posterior"),
    )
    items = scan(settings)
    assert Counter(item.info.split for item in items) == {Split.TRAIN: 70, Split.VALIDATION: 15, Split.TEST: 15}
    first = items[0]
    stranger = nibabel.load(real_data / "hippocampus" / "labels" / f"{first.info.id}.nii.gz").get_fdata()
    np.testing.assert_array_equal(first.load().truth["expert"].classes, stranger.transpose(2, 1, 0))
    assert math.prod(first.info.shape) == stranger.size
