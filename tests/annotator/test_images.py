"""What a rater sees: regions of 2-D and 3-D items, in colour and grey, with what the model says."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alframe.storage import write_pool
from alframe.testing.campaigns import blobs
from alframe.testing.memory_pool import MemoryPool, pool_item


def picture(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_grey_region_is_windowed_and_its_samples_are_exact(served: Any) -> None:
    task = served.claim()["task"]
    image = served.pool.image(task["item"])
    assert (task["image"]["kind"], task["image"]["dtype"], task["image"]["channels"]) == ("grey", "uint8", 1)
    assert task["image"]["low"] == pytest.approx(np.percentile(image, 1))
    assert task["image"]["high"] == pytest.approx(np.percentile(image, 99))
    assert (task["image"]["min"], task["image"]["max"]) == (image.min(), image.max())
    region = image[:, 2:14, 2:14]
    raw = served.client.get(task["image"]["pixels"], headers={"Authorization": f"Bearer {served.tokens['anna']}"})
    assert np.array_equal(np.frombuffer(raw.content, "<u1").reshape(1, 12, 12), region)
    shown = picture(served("GET", f"/tasks/{task['id']}/image.png"))
    low, high = task["image"]["low"], task["image"]["high"]
    assert np.array_equal(shown, np.round(255 * np.clip((region[0] - low) / (high - low), 0, 1)).astype(np.uint8))


def test_colour_is_shown_as_it_is(serve: Callable[..., Any]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 700, 1100), np.uint8)
    served = serve(MemoryPool([pool_item("slide", pixels)]), count=1, side=600)
    task = served.claim()["task"]
    assert task["image"]["kind"] == "rgb"
    assert (task["image"]["low"], task["image"]["high"]) == (0, 255)
    shown = picture(served("GET", f"/tasks/{task['id']}/image.png"))
    assert np.array_equal(np.moveaxis(shown, -1, 0), pixels[:, 2:602, 2:602])
    context = task["context"]
    assert (context["width"], context["height"]) == (367, 234)
    assert context["box"] == [0.67, 0.67, 200.67, 200.67]
    small = picture(served("GET", f"/tasks/{task['id']}/context.png"))
    assert small.shape == (234, 367, 3)
    assert np.array_equal(small[10, 20], np.round(pixels[:, 30:33, 60:63].reshape(3, -1).mean(axis=1)))


def test_a_volume_comes_slice_by_slice(serve: Callable[..., Any]) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.normal(100, 50, (2, 9, 20, 30)).astype(np.float32)
    pixels[0, 0, 0, 0] = np.nan
    served = serve(MemoryPool([pool_item("scan", pixels, spacing=(3.0, 1.0, 1.0))]), count=1, side=7)
    task = served.claim()["task"]
    assert (task["axes"], task["shape"], task["spacing"]) == ("ZYX", [7, 7, 7], [3.0, 1.0, 1.0])
    for number in (0, 6):
        raw = served("GET", f"/tasks/task-0/pixels?slice={number}")
        expected = pixels[:, 2 + number, 2:9, 2:9]
        assert np.array_equal(np.frombuffer(raw.content, "<f4").reshape(2, 7, 7), expected)
        assert picture(served("GET", f"/tasks/task-0/image.png?slice={number}")).shape == (7, 7)
        assert picture(served("GET", f"/tasks/task-0/context.png?slice={number}")).shape == (20, 30)
    for number, status in ((7, 404), (-1, 422), ("x", 422)):
        assert served("GET", f"/tasks/task-0/image.png?slice={number}").status_code == status


def test_giving_out_a_task_reads_no_pixel(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Fifty raters who open fifty scans at once would wait for all of them to be read."""
    values = np.random.default_rng(3).integers(-1000, 3000, (1, 6, 20, 20), np.int16)
    pool = write_pool(tmp_path / "pool.zarr", [pool_item("scan", values)], classes=("background", "object"))
    for chunk in (tmp_path / "pool.zarr").glob("i*/image/c*"):
        shutil.rmtree(chunk) if chunk.is_dir() else chunk.unlink()
    served = serve(pool, count=1, side=4)
    image = served.claim()["task"]["image"]
    assert (image["min"], image["max"]) == (values.min(), values.max())
    assert (image["low"], image["high"]) == pytest.approx(np.percentile(values, (1, 99)))
    assert served("GET", "/tasks/task-0/image.png").status_code >= 500


def test_what_the_model_says(served: Any) -> None:
    task = served.claim()["task"]
    stored = served.desk.artifacts.get_arrays(served.desk.ledger.task("task-0").prefill)
    assert task["prefill"]["sha256"] == served.desk.ledger.task("task-0").prefill.sha256
    prefill = served("GET", "/tasks/task-0/prefill")
    assert prefill.content == stored["classes"].tobytes()
    answer = served("GET", "/tasks/task-0/uncertainty")
    assert task["uncertainty"]["measure"] == "bald"
    top = float(answer.headers["x-uncertainty-max"])
    assert top == pytest.approx(stored["uncertainty"].max())
    values = np.frombuffer(answer.content, np.uint8).reshape(12, 12) / 255 * top
    assert np.allclose(values, stored["uncertainty"], atol=top / 500)


def test_blind_tasks_show_nothing_of_the_model(serve: Callable[..., Any]) -> None:
    served = serve(blind=True)
    task = served.claim()["task"]
    assert (task["blind"], task["prefill"], task["uncertainty"]) == (True, None, None)
    for kind in ("prefill", "uncertainty"):
        assert served("GET", f"/tasks/task-0/{kind}").status_code == 404


def test_a_browser_that_has_a_picture_is_told_so(served: Any) -> None:
    served.claim()
    first = served("GET", "/tasks/task-0/image.png")
    assert "private" in first.headers["cache-control"]
    again = served("GET", "/tasks/task-0/image.png", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_flat_item_has_one_slice_and_every_pool_its_classes(serve: Callable[..., Any]) -> None:
    served = serve(blobs(3, axes=3))
    task = served.claim()["task"]
    assert [one["colour"] for one in task["classes"]] == ["#8c8c8c", "#56b4e9"]
    assert task["axes"] == "ZYX"
