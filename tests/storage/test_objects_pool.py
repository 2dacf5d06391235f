"""The pool in an object store: the contract, one identity with the pool on disk, and manifests published last and once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from alframe.errors import ArtifactDamaged, ConflictError, DataError, NotFound
from alframe.ports import Pool, PoolItem
from alframe.storage import ZarrPool, pool_write, write_pool
from alframe.storage.objects import ObjectFolder
from alframe.storage.pool_manifest import sealed
from alframe.storage.pool_zarr import MANIFEST
from alframe.testing.contracts.pool import CLASSES, PoolContract, sample_items

COUNT = itertools.count()


class TestObjectPool(PoolContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, s3: str) -> None:
        self.s3 = s3

    def make(self, items: Sequence[PoolItem], classes: Sequence[str]) -> Pool:
        return write_pool(f"{self.s3}/contract-{next(COUNT)}", items, classes=classes)


@pytest.fixture
def folder(s3: str) -> ObjectFolder:
    return ObjectFolder(f"{s3}/pool-{next(COUNT)}")


def _keys(folder: ObjectFolder) -> list[str]:
    return sorted(status.key for status in folder.listing())


def test_hash_is_that_of_the_pool_on_disk(folder: ObjectFolder, tmp_path: object) -> None:
    items = sample_items()
    remote, local = write_pool(folder.url, items, classes=CLASSES), write_pool(f"{tmp_path}/p", items, classes=CLASSES)
    assert remote.manifest_hash == local.manifest_hash
    assert [key for key in _keys(folder) if not key.startswith("data-")] == [MANIFEST]


def test_repeating_changes_nothing_and_other_data_are_refused(folder: ObjectFolder) -> None:
    items = sample_items()
    write_pool(folder.url, items, classes=CLASSES)
    before = _keys(folder)
    assert write_pool(folder.url, items, classes=CLASSES).classes == CLASSES
    with pytest.raises(ConflictError, match="classes"):
        write_pool(folder.url, items, classes=("background", "gland", "other"))
    with pytest.raises(ConflictError, match="zeta"):
        write_pool(folder.url, items[1:], classes=CLASSES)
    assert _keys(folder) == before


@pytest.mark.parametrize("same", [True, False])
def test_of_two_writers_one_publishes(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    """The other one finds the manifest at its very last step, keeps nothing, and compares."""
    items = sample_items()
    monkeypatch.setattr(pool_write, "reach", _Rival(folder, items if same else items[1:]))
    if same:
        assert write_pool(folder.url, items, classes=CLASSES).info("zeta")
    else:
        with pytest.raises(ConflictError, match="zeta"):
            write_pool(folder.url, items, classes=CLASSES)
    assert len({key.split("/")[0] for key in _keys(folder)}) == 2
    ZarrPool(folder.url).verify()


class _Rival:
    """Publishes another pool when the first writer is about to."""

    def __init__(self, folder: ObjectFolder, items: Sequence[PoolItem]) -> None:
        self.folder, self.items, self.done = folder, items, False

    def __call__(self, name: str) -> None:
        if name == "ingest.manifest.before_write" and not self.done:
            self.done = True
            write_pool(self.folder.url, self.items, classes=CLASSES)


def test_an_error_while_writing_leaves_nothing(folder: ObjectFolder) -> None:
    items = sample_items()
    wrong = PoolItem(info=items[-1].info, load=items[0].load)
    with pytest.raises(DataError):
        write_pool(folder.url, [*items[:-1], wrong], classes=CLASSES)
    assert _keys(folder) == []
    with pytest.raises(NotFound, match="ingest"):
        ZarrPool(folder.url).items()


KILLED = """
import sys
from alframe.storage import write_pool
from alframe.testing.contracts.pool import CLASSES, sample_items
write_pool(sys.argv[1], sample_items(), classes=CLASSES)
"""


@pytest.mark.parametrize("place", ["ingest.item:2", "ingest.manifest.before_write", "ingest.manifest.after_write"])
def test_a_killed_writer_leaves_no_pool_or_all_of_it(folder: ObjectFolder, place: str) -> None:
    environment = os.environ | {"ALFRAME_FAILPOINT": place}
    child = subprocess.run([sys.executable, "-c", KILLED, folder.url], env=environment, check=False)
    assert child.returncode == -9
    assert (folder.read(MANIFEST) is not None) == place.endswith("after_write")
    write_pool(folder.url, sample_items(), classes=CLASSES).verify()


def test_lost_altered_and_exchanged_chunks_are_seen(folder: ObjectFolder) -> None:
    items = sample_items()
    pool = write_pool(folder.url, items, classes=CLASSES)
    chunks = sorted(key for key in _keys(folder) if "/image/c." in key)
    whole = [folder.read(key) or b"" for key in chunks[:2]]
    first = sorted(item.info.id for item in items)[0]
    for bad in (whole[1], whole[0][:-1] + bytes([whole[0][-1] ^ 1]), None):
        if bad is None:
            folder.delete(chunks[0])
        else:
            folder.overwrite(chunks[0], bad)
        with pytest.raises(ArtifactDamaged, match=r"c\.0"):
            pool.image(first)
        with pytest.raises(ArtifactDamaged, match=r"i000001/image/c\.0"):
            pool.verify()
    folder.overwrite(chunks[0], whole[0])
    np.testing.assert_array_equal(pool.image(first), next(item.load().image for item in items if item.info.id == first))


@pytest.mark.parametrize("data", ["../other", "", "data-x", "/etc"])
def test_a_manifest_cannot_point_elsewhere(folder: ObjectFolder, data: str) -> None:
    write_pool(folder.url, sample_items(), classes=CLASSES)
    body = json.loads(folder.read(MANIFEST) or b"")["body"] | {"data": data}
    folder.overwrite(MANIFEST, sealed(body))
    with pytest.raises(ArtifactDamaged, match="names the data"):
        ZarrPool(folder.url).items()
