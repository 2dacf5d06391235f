"""Data sets by name or address: from an archive on a server to a pool, or nothing at all."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from alframe import datasets
from alframe.cli import app
from alframe.errors import ArtifactDamaged, ConflictError, InvalidValue, NotFound
from alframe.testing.web import Site, served

Members = dict[str, bytes]


def volume(folder: Path, values: np.ndarray) -> bytes:
    path = folder / "made.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path.read_bytes()


@pytest.fixture
def task(tmp_path: Path) -> Members:
    """Three volumes in the Decathlon's layout, with what a Mac adds."""
    rng = np.random.default_rng(0)
    members = {}
    for number in range(3):
        labels = rng.integers(0, 3, (12, 10, 8)).astype(np.uint8)
        members[f"Task04_Small/imagesTr/case_{number}.nii.gz"] = volume(tmp_path, (labels * 80).astype(np.int16))
        members[f"Task04_Small/labelsTr/case_{number}.nii.gz"] = volume(tmp_path, labels)
        members[f"Task04_Small/imagesTr/._case_{number}.nii.gz"] = b"litter"
    labels = {"2": "posterior", "0": "background", "1": "anterior"}
    members["Task04_Small/dataset.json"] = json.dumps({"labels": labels, "tensorImageSize": "3D"}).encode()
    return members


def tarred(members: Members, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as bundle:  # type: ignore[call-overload]
        for name, data in members.items():
            one = tarfile.TarInfo(name)
            one.size = len(data)
            bundle.addfile(one, io.BytesIO(data))
    return out.getvalue()


def zipped(members: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


PACKERS: list[Callable[[Members], bytes]] = [tarred, lambda members: tarred(members, "w:gz"), zipped]


@pytest.mark.parametrize("pack", PACKERS, ids=["tar", "tar.gz", "zip"])
def test_an_archive_becomes_a_pool(tmp_path: Path, task: Members, pack: Callable[[Members], bytes]) -> None:
    data, runner, folder = pack(task), CliRunner(), tmp_path / "small"
    with served(Site(data, cuts=[len(data) // 2])) as site:
        ran = runner.invoke(app, ["download", site.url, "--to", str(folder), "--digest", digest_of(data)])
    assert ran.exit_code == 0, ran.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.nii.gz", "small"]
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 7
    campaign = tmp_path / "small.yaml"
    rest = "learner: {type: mc_dropout}\nstrategy: {type: random}\noracle: {type: simulated}\nbatch: 1\nbudget: {rounds: 1}"
    campaign.write_text(f"name: small\n{rest}\n{ran.stdout}")
    assert 'classes: ["background", "anterior", "posterior"]' in ran.stdout
    ingested = runner.invoke(app, ["ingest", str(campaign)])
    assert ingested.exit_code == 0, ingested.output


def test_the_list_and_a_name_that_is_nearly_right() -> None:
    listed = CliRunner().invoke(app, ["download", "--json"])
    assert listed.exit_code == 0
    names = [one["name"] for one in json.loads(listed.stdout)]
    assert len(names) == 10
    assert all(
        one["digest"].startswith("md5:") and one["url"].startswith("https://") for one in json.loads(listed.stdout)
    )
    assert "Task04_Hippocampus" in CliRunner().invoke(app, ["download"]).stdout
    with pytest.raises(NotFound, match="did you mean Task04_Hippocampus"):
        datasets.download("Hippocampus", Path("nowhere"))


def test_a_named_set_has_the_digest_that_was_published(
    tmp_path: Path, task: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tarred(task)
    with served(Site(data)) as site:
        published = f"md5:{hashlib.md5(data).hexdigest()}"
        known = {"Task04_Small": (site.url, published), "Task05_Other": (site.url, "md5:" + 32 * "0")}
        monkeypatch.setattr(datasets, "catalogue", lambda: known)
        found = datasets.download("Task04_Small", tmp_path / "one")
        with pytest.raises(ArtifactDamaged, match="md5:"):
            datasets.download("Task05_Other", tmp_path / "two")
    assert found.data is not None
    assert found.data["root"] == str(tmp_path / "one" / "Task04_Small")
    assert not (tmp_path / "two").exists()


def test_what_does_not_tell_its_classes_is_still_brought(tmp_path: Path) -> None:
    data = zipped({"a/1.png": b"x"})
    with served(Site(data)) as site:
        ran = CliRunner().invoke(app, ["download", site.url, "--to", str(tmp_path / "mine"), "--json"])
    assert json.loads(ran.stdout) == {"folder": str(tmp_path / "mine"), "files": 1, "data": None}
    assert "own-data.md" in ran.stderr


def linked(kind: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as bundle:
        one = tarfile.TarInfo("data/passwd")
        one.type, one.linkname = kind, "/etc/passwd"
        bundle.addfile(one)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"<html>not found</html>", "expected a zip or tar"),
        (tarred({"a": bytes(100_000)})[:50_000], "a part of one"),
        (tarred({"../outside": b"x"}), "outside the folder"),
        (tarred({"/outside": b"x"}), "outside the folder"),
        (zipped({"../outside": b"x"}), "outside the folder"),
        (zipped({"a\\..\\..\\outside": b"x"}), "outside the folder"),
        (linked(tarfile.SYMTYPE), "a link or device"),
        (linked(tarfile.LNKTYPE), "a link or device"),
        (linked(tarfile.CHRTYPE), "a link or device"),
    ],
    ids=[
        "no archive",
        "cut off",
        "parent",
        "absolute",
        "parent in a zip",
        "backslashes",
        "symlink",
        "hard link",
        "device",
    ],
)
def test_what_may_not_be_unpacked_leaves_nothing(tmp_path: Path, data: bytes, match: str) -> None:
    with served(Site(data)) as site, pytest.raises(InvalidValue, match=match):
        datasets.download(site.url, tmp_path / "inner" / "set")
    assert [path.name for path in tmp_path.rglob("*")] in (["inner"], ["inner", "set.archive.lock"])


def test_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_SMALL", 1000)
    archive = tmp_path / "bomb.tar.gz"
    archive.write_bytes(tarred({"zeros": bytes(1_000_000)}, "w:gz"))
    with pytest.raises(InvalidValue, match="100 times its size"):
        datasets.unpack(archive, tmp_path / "set")
    monkeypatch.setattr(datasets, "MAX_FILES", 2)
    archive.write_bytes(tarred({str(number): b"" for number in range(3)}))
    with pytest.raises(InvalidValue, match="more than 2 files"):
        datasets.unpack(archive, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.tar.gz"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with served(Site(b"")) as site, pytest.raises(ConflictError, match="not an empty folder"):
        datasets.download(site.url, tmp_path)
    assert site.asked == []
