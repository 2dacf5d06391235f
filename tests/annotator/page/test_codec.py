"""Bytes, clocks, colours and comparisons of the page against Python's and numpy's."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe import seeding

from .conftest import Run, packed, unpacked

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40000)), max_size=8))
def test_runs_round_trip(run: Run, parts: list[tuple[int, int]]) -> None:
    plain = np.concatenate([np.zeros(0, np.uint8), *(np.full(count, value, np.uint8) for value, count in parts)])
    script = """
    const { packRuns, unpackRuns } = await load("core/runs.js"), plain = bytes(given), runs = packRuns(plain);
    return [text(unpackRuns(runs, plain.length)), runs.length];
    """
    back, size = run(script, given=packed(plain))
    assert back == packed(plain)
    assert size <= 5 * len(parts)


@pytest.mark.parametrize("size", [2, 4])
def test_runs_of_another_length_are_refused(run: Run, size: int) -> None:
    script = """
    const { packRuns, unpackRuns } = await load("core/runs.js");
    try { unpackRuns(packRuns(new Uint8Array(3)), size); } catch (error) { return error.name; }
    return null;
    """
    assert run(script, size=size) == "RangeError"


def test_a_mask_is_gzip_in_base64_with_its_hash(run: Run) -> None:
    labels = seeding.generator(2, "mask").integers(0, 4, (300, 270)).astype(np.uint8)
    script = """
    const { packMask, unpackMask } = await load("core/codec.js"), mask = await packMask(bytes(labels), [300, 270]);
    return [mask, text(await unpackMask(mask))];
    """
    mask, back = run(script, labels=packed(labels))
    raw = gzip.decompress(base64.b64decode(mask["data"]))
    assert raw == labels.tobytes()
    assert mask["sha256"] == hashlib.sha256(raw).hexdigest()
    assert (mask["encoding"], mask["shape"]) == ("gzip", [300, 270])
    assert back == packed(labels)


def test_a_draft_round_trips_and_a_strange_one_is_refused(run: Run) -> None:
    labels = seeding.generator(3, "draft").integers(0, 3, 5000).astype(np.uint8)
    script = """
    const { packDraft, unpackDraft } = await load("core/codec.js"), draft = await packDraft({ who: "Zoë", edit: 7 }, bytes(labels));
    const { header, data } = await unpackDraft(draft);
    const wrong = await unpackDraft(new Uint8Array(20)).catch((error) => error.name);
    return [text(draft), header, text(data), wrong];
    """
    draft, header, data, wrong = run(script, labels=packed(labels))
    assert (header, data, wrong) == ({"who": "Zoë", "edit": 7}, packed(labels), "RangeError")
    raw = base64.b64decode(draft)
    length = int.from_bytes(raw[4:8], "little")
    assert raw[:4] == b"AFD1"
    assert json.loads(raw[8 : 8 + length]) == header
    assert gzip.decompress(raw[8 + length :]) == labels.tobytes()


def test_pauses_count_a_minute_and_absence_nothing(run: Run) -> None:
    script = """
    const { Clock } = await load("core/clock.js");
    let now = 0;
    const clock = new Clock(() => now, 500), totals = [clock.total];
    for (const [at, what] of steps) {
      now = at;
      clock[what]?.();
      totals.push(clock.total);
    }
    return totals;
    """
    steps = [(1000, "touch"), (11_000, "touch"), (41_000, ""), (211_000, "touch")]
    steps += [(221_000, "pause"), (900_000, ""), (900_001, "touch"), (902_001, "")]
    expected = [500, 500, 10_500, 40_500, 70_500, 80_500, 80_500, 80_500, 82_500]
    assert run(script, steps=steps) == expected


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), raters=st.integers(1, 5))
def test_majority_and_dispute(run: Run, seed: int, raters: int) -> None:
    masks = seeding.generator(seed, "majority").choice([0, 1, 2, 255], (raters, 200)).astype(np.uint8)
    script = """
    const { majority, disputed } = await load("core/compare.js"), all = masks.map(bytes);
    return [text(majority(all)), text(disputed(all))];
    """
    found, apart = run(script, masks=[packed(mask) for mask in masks])
    expected, differs = [], []
    for votes in masks.T:
        said = [int(vote) for vote in votes if vote != 255]
        expected.append(
            max(said, key=lambda value, said=said: (said.count(value), -said.index(value))) if said else 255
        )
        differs.append(len(set(said)) > 1)
    np.testing.assert_array_equal(unpacked(found, (200,)), expected)
    np.testing.assert_array_equal(unpacked(apart, (200,)), differs)


def test_window_and_level(run: Run) -> None:
    values = np.array([-5.0, 0, 0.5, 1, 2, 4, 9], np.float32)
    script = """
    const { grey, samples } = await load("core/pixels.js");
    return [...grey(samples(bytes(values).buffer, "float32"), 0, 4, new Uint32Array(7))];
    """
    words = np.array(run(script, values=packed(np.frombuffer(values.tobytes(), np.uint8))), np.int64).astype(np.uint32)
    shown = np.frombuffer(words.tobytes(), np.uint8).reshape(-1, 4)
    expected = (np.clip(values / 4, 0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(shown, np.stack([expected, expected, expected, np.full(7, 255)], 1))


def test_contours_follow_the_borders_between_classes(run: Run) -> None:
    rng = seeding.generator(4, "contours")
    plane = np.kron(rng.choice([0, 1, 2, 255], (6, 7)), np.ones((5, 5))).astype(np.uint8)
    script = """
    const { drawLabels } = await load("core/pixels.js");
    const fills = Uint32Array.from({ length: 256 }, (_, id) => id), edges = Uint32Array.from({ length: 256 }, (_, id) => 1000 + id);
    return [...drawLabels(bytes(plane), 35, 30, { x0: 3, y0: 2, x1: 33, y1: 29 }, { fills, edges }, new Uint32Array(30 * 27))];
    """
    found = np.array(run(script, plane=packed(plane))).reshape(27, 30)
    padded = np.pad(plane, 1, mode="edge")
    around = [padded[1 + dy : 31 + dy, 1 + dx : 36 + dx] for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    border = np.any([near != plane for near in around], axis=0)
    rows, columns = np.mgrid[:30, :35]
    striped = (plane == 255) & ((rows + columns) % 8 < 2)
    expected = np.where(plane == 0, 0, np.where(border | striped, 1000 + plane.astype(int), plane))
    np.testing.assert_array_equal(found, expected[2:29, 3:33])


@pytest.mark.parametrize("fails", [False, True])
def test_labels_are_packed_as_they_were_with_or_without_the_worker(browser: Browser, files: str, fails: bool) -> None:
    """Bytes that change after the call do not change what is packed; a worker that does not load stops nothing."""
    page = browser.new_page()
    if fails:
        page.route("**/core/squeeze.js", lambda route: route.abort())
    page.goto(f"{files}/icon.svg")
    script = """async () => {
      const { gzip, gunzip } = await import(new URL("core/codec.js", location.origin));
      const data = new Uint8Array(100000).fill(7), packed = [gzip(data)];
      data.fill(9);
      packed.push(gzip(data));
      await Promise.all(packed);
      packed.push(gzip(data));
      const found = await Promise.all(packed.map(async (one) => gunzip(await one)));
      return found.map((one) => [one.length, one.every((value) => value === one[0]), one[0]]);
    }"""
    assert page.evaluate(script) == [[100000, True, value] for value in (7, 9, 9)]
    page.close()
