"""The label buffer: every stroke undone and done again exactly, locks, counts, and the cap on memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe import seeding

from .conftest import Run, packed, unpacked
from .shapes import polygon, stroke

pytestmark = pytest.mark.browser

SHAPE = (3, 90, 150)  # more than one tile of 64 in both directions, none of them whole at the border

STROKES = """
const { Editor } = await load("core/editor.js");
const editor = new Editor(shape, start ? bytes(start) : undefined, { suggestion: suggestion ? bytes(suggestion) : null });
const states = [text(editor.labels.data)];
for (const { tool, z, value, size, points, locks } of strokes) {
  for (let id = 0; id < 256; id += 1) editor.labels.lock(id, locks.includes(id));
  Object.assign(editor, { tool, z, value, size });
  if (tool === "polygon") {
    for (const [x, y] of points) editor.down(x, y);
    editor.closePolygon();
  } else {
    editor.down(...points[0]);
    for (const [x, y] of points.slice(1)) editor.move(x, y);
    editor.up();
  }
  states.push(text(editor.labels.data));
}
"""


def drawn_by_hand(
    labels: np.ndarray, one: dict[str, object], suggestion: np.ndarray
) -> np.ndarray:  # a stroke on the plane of its slice
    after = labels.copy()
    plane, points, z = after[one["z"]], one["points"], one["z"]
    if one["tool"] == "polygon":
        corners = [(int(np.floor(x + 0.5)), int(np.floor(y + 0.5))) for x, y in points]  # type: ignore[attr-defined]
        kept = [corner for at, corner in enumerate(corners) if at == 0 or corner != corners[at - 1]]
        shape = polygon(kept, plane.shape) if len(kept) > 2 else np.zeros(plane.shape, bool)
    else:
        shape = stroke(points, one["size"], plane.shape)  # type: ignore[arg-type]
    shape &= ~np.isin(plane, one["locks"])
    value = {"eraser": 0, "suggestion": suggestion[z][shape]}.get(str(one["tool"]), one["value"])
    plane[shape] = value
    return after


spots = st.tuples(st.floats(-10, 160, width=32), st.floats(-10, 100, width=32))
strokes = st.lists(
    st.fixed_dictionaries(
        {
            "tool": st.sampled_from(["brush", "eraser", "polygon", "suggestion"]),
            "z": st.integers(0, 2),
            "value": st.sampled_from([0, 1, 2, 255]),
            "size": st.integers(1, 60),
            "points": st.lists(spots, min_size=1, max_size=4),
            "locks": st.lists(st.sampled_from([0, 1, 2, 255]), max_size=2, unique=True),
        }
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25)
@given(made=strokes, seed=st.integers(0, 1000))
def test_strokes_paint_undo_and_redo_exactly(run: Run, made: list[dict[str, object]], seed: int) -> None:
    rng = seeding.generator(seed, "labels")
    start, suggestion = (np.repeat(rng.choice([0, 1, 2, 255], (3, 90, 15)), 10, 2).astype(np.uint8) for _ in range(2))
    expected = [start]
    for one in made:
        expected.append(drawn_by_hand(expected[-1], one, suggestion))
    script = (
        STROKES
        + """
    const back = [], forth = [], counts = [];
    while (editor.undo()) back.push(text(editor.labels.data));
    while (editor.redo()) forth.push(text(editor.labels.data));
    return { states, back, forth, counts: [0, 1, 2, 255].map((id) => editor.labels.counts[id]) };
    """
    )
    found = run(script, strokes=made, shape=SHAPE, start=packed(start), suggestion=packed(suggestion))
    for state, by_hand in zip(found["states"], expected, strict=True):
        np.testing.assert_array_equal(unpacked(state, SHAPE), by_hand)
    changing = [expected[0]] + [b for a, b in itertools.pairwise(expected) if not np.array_equal(a, b)]
    assert found["back"] == [packed(state) for state in reversed(changing[:-1])]
    assert found["forth"] == [packed(state) for state in changing[1:]]
    assert found["counts"] == [int((expected[-1] == value).sum()) for value in (0, 1, 2, 255)]


def test_two_hundred_strokes_on_a_large_region_undo_and_redo_exactly(run: Run) -> None:
    script = """
    const { Editor } = await load("core/editor.js"), { sha256 } = await load("core/codec.js");
    const editor = new Editor([1, 2048, 2048]), hash = () => sha256(editor.labels.data), states = [await hash()];
    for (let n = 0; states.length <= 200; n += 1) {
      editor.value = [1, 255, 2, 0][n % 4];
      editor.size = [4, 24, 100, 400][n % 4];
      editor.down((337 * n) % 2048, (791 * n) % 2048);
      for (let k = 1; k < 6; k += 1) editor.move((337 * n + 90 * k) % 2048, (791 * n + 70 * k) % 2048);
      editor.up();
      const now = await hash();
      if (now !== states.at(-1)) states.push(now);
    }
    const kept = [editor.history.undoable, editor.history.bytes], back = [], forth = [];
    while (editor.undo()) back.push(await hash());
    while (editor.redo()) forth.push(await hash());
    return { states, back, forth, kept, some: editor.labels.data.some(Boolean) };
    """
    found = run(script)
    assert found["kept"][0] == 200
    assert found["kept"][1] < 8 * 2**20  # not a copy of the labels for each stroke
    assert len(set(found["states"])) == 201
    assert found["back"] == found["states"][-2::-1]
    assert found["forth"] == found["states"][1:]
    assert found["some"]


def test_a_cancelled_stroke_leaves_nothing(run: Run) -> None:
    script = """
    const { Editor } = await load("core/editor.js"), editor = new Editor([1, 90, 150]);
    editor.down(20, 20); editor.move(140, 80); editor.cancel();
    return [editor.labels.data.some(Boolean), editor.history.undoable, editor.edits, editor.takeDirty()];
    """
    anything, undoable, edits, dirty = run(script)
    assert (anything, undoable, edits) == (False, 0, 0)
    assert dirty["x0"] <= 8  # and what was shown is drawn again
    assert dirty["x1"] == 150


def test_a_new_stroke_forgets_what_was_undone(run: Run) -> None:
    script = """
    const { Editor } = await load("core/editor.js"), editor = new Editor([1, 90, 150]);
    for (const x of [20, 60, 100]) { editor.down(x, 40); editor.up(); }
    editor.undo(); editor.undo();
    editor.down(130, 40); editor.up();
    return [editor.history.undoable, editor.history.redoable, editor.redo()];
    """
    assert run(script) == [2, 0, None]


def test_memory_for_undo_has_a_cap(run: Run) -> None:
    script = """
    const { Editor } = await load("core/editor.js"), { History } = await load("core/history.js");
    const editor = new Editor([1, 512, 512], undefined, { history: new History(40000) });
    let most = 0;
    for (let n = 0; n < 120; n += 1) {
      editor.value = 1 + (n % 3);
      editor.size = 5 + (n % 40);
      editor.down((37 * n) % 512, (91 * n) % 512); editor.move((53 * n) % 512, (17 * n) % 512); editor.up();
      most = Math.max(most, editor.history.bytes);
    }
    const kept = editor.history.undoable;
    let undone = 0;
    while (editor.undo()) undone += 1;
    return [most, kept, undone];
    """
    most, kept, undone = run(script)
    assert most <= 40000
    assert 0 < kept < 120
    assert undone == kept


def test_whole_labels_are_replaced_as_one_stroke(run: Run) -> None:
    fresh = seeding.generator(1, "replace").integers(0, 3, SHAPE).astype(np.uint8)
    script = """
    const { Editor } = await load("core/editor.js"), editor = new Editor(shape);
    editor.labels.lock(0, true);
    editor.replace(bytes(fresh));
    const after = text(editor.labels.data), differing = editor.labels.differing(new Uint8Array(editor.labels.data.length));
    editor.undo();
    return [after, differing, editor.labels.data.some(Boolean), editor.history.undoable];
    """
    after, differing, anything, undoable = run(script, shape=SHAPE, fresh=packed(fresh))
    assert after == packed(fresh)
    assert differing == int((fresh != 0).sum())
    assert (anything, undoable) == (False, 0)
