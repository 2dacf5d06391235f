"""What a rater does is what arrives: every tool, by pointer, by finger and by keys, on images and volumes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from . import shapes
from .serving import Campaign, Desk

pytestmark = pytest.mark.browser

Visit = Callable[..., Desk]
SHAPE = (40, 40)
READS = ("willReadFrequently",)  # Chromium's advice to those who read a canvas back, as a test does


def emptied(desk: Desk) -> np.ndarray:
    desk.page.locator("button", has_text="empty").click()
    return np.zeros(SHAPE, np.uint8)


def test_every_tool_paints_what_it_says(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("tools", raters=("tilda",))
    desk = visit(served.link("tilda")).opened(task.item)
    keys, labels = desk.page.keyboard, emptied(desk)

    keys.press("p")  # a polygon, closed by its first corner
    corners = [(4, 4), (30, 6), (26, 30), (8, 24)]
    touched = [desk.image_point(place) for place in [desk.place(*one) for one in corners]]
    for corner in [*corners, corners[0]]:
        desk.page.mouse.click(*desk.place(*corner))
    labels[shapes.polygon([(round(x), round(y)) for x, y in touched], SHAPE)] = 1

    keys.press("b")
    for _ in range(30):
        keys.press("[")
    assert desk.size() == 1
    for _ in range(4):
        keys.press("]")
    assert desk.size() == 5
    keys.press("u")
    desk.paint(labels, 255, (34, 34), (38, 20))
    keys.press("Shift+1")  # what is a gland already stays
    before = labels.copy()
    keys.press("0")
    desk.paint(labels, 0, (2, 14), (38, 22))
    labels[before == 1] = 1
    keys.press("Shift+1")

    keys.down("e")  # held: erases only meanwhile
    desk.paint(labels, 0, (16, 2), (16, 38))
    keys.up("e")
    keys.press("1")
    desk.paint(labels, 1, (36, 4))

    keys.press("f")  # fill the piece left of the cut
    x, y = desk.image_point(desk.place(10.5, 10.5))
    keys.press("u")
    desk.page.mouse.click(*desk.place(10.5, 10.5))
    parts = ndimage.label(labels == labels[int(y), int(x)])[0]
    labels[parts == parts[int(y), int(x)]] = 255

    keys.press("m")  # the suggestion is a square of 4 × 4 in the corner
    desk.paint(labels, 99, (3, 3))
    suggested = np.zeros(SHAPE, np.uint8)
    suggested[:4, :4] = 1
    labels[labels == 99] = suggested[labels == 99]

    keys.press("b")
    keys.press("1")
    desk.stroke((20, 20), (30, 30))
    keys.press("Control+z")
    desk.stroke((3, 38), (38, 38))
    keys.press("Control+z")
    keys.press("Control+Shift+z")
    keys.press("Control+z")
    desk.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_everything_goes_without_a_mouse(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("keys", raters=("kay",))
    desk = visit(served.link("kay")).opened(task.item)
    keys, labels = desk.page.keyboard, np.zeros(SHAPE, np.uint8)
    while desk.page.evaluate("document.activeElement.textContent") != "empty":
        keys.press("Tab")
    keys.press("Enter")
    while not desk.page.evaluate("document.activeElement.classList.contains('stage')"):
        keys.press("Shift+Tab")
    for _ in range(9):
        keys.press("[")
    size = desk.size()
    keys.press("ArrowLeft")  # the cross-hair appears in the middle, and moves
    keys.press("Enter")
    for _ in range(8):
        keys.press("ArrowUp")
    keys.press("Shift+ArrowRight")
    keys.press("Enter")
    labels[shapes.stroke([(19.5, 20.5), (19.5, 12.5), (29.5, 12.5)], size, SHAPE)] = 1
    keys.press("Shift+ArrowDown")  # the pen is up
    keys.press("p")
    for key in ("ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowDown", "Shift+ArrowRight"):
        keys.press("Enter")
        keys.press(key)
    keys.press("Enter")
    keys.press("Enter")  # twice at one place
    labels[shapes.polygon([(29, 22), (28, 22), (18, 22), (18, 32), (28, 32)], SHAPE)] = 1
    desk.page.locator(".sr[role=status]", has_text="column 28, row 32").wait_for(state="attached")
    keys.press("Control+Enter")
    desk.note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_two_fingers_move_the_image_and_take_back_what_one_began(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("touch", raters=("tova",))
    desk = visit(served.link("tova"), has_touch=True).opened(task.item)
    labels = emptied(desk)
    fingers = desk.page.context.new_cdp_session(desk.page)

    def touch(kind: str, *places: tuple[int, int]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    a, b = desk.place(10, 10), desk.place(30, 12)
    touch("Start", a)
    touch("Move", b)
    touch("End")
    touched = [desk.image_point(one) for one in (a, b)]
    labels[shapes.stroke(touched, desk.size(), SHAPE)] = 1
    before = desk.view()
    c, d = desk.place(10, 30), desk.place(24, 30)
    touch("Start", c)
    touch("Start", c, d)
    touch("Move", (c[0] - 60, c[1]), (d[0] + 60, d[1]))
    touch("End")
    desk.page.wait_for_function(
        "(was) => Number(document.querySelector('.stage').dataset.scale) > 1.2 * was", arg=before[0]
    )
    desk.page.keyboard.press("r")
    desk.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_painting_is_exact_at_any_zoom(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("zoom", raters=("zoe",))
    desk = visit(served.link("zoe"), device_scale_factor=1.5).opened(task.item)
    labels = emptied(desk)
    for steps in (-6, 3, 9):
        desk.page.mouse.move(*desk.place(22, 18))
        for _ in range(abs(steps)):
            desk.page.mouse.wheel(0, -120 if steps > 0 else 120)
        desk.drawn()
        desk.page.keyboard.down("Space")  # and drag it about
        desk.page.mouse.down()
        desk.page.mouse.move(600, 420)
        desk.page.mouse.up()
        desk.page.keyboard.up("Space")
        desk.paint(labels, 1, (19, 18), (22, 19), (24, 16))
    desk.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_what_is_drawn_is_what_is_seen(served: Campaign, visit: Visit) -> None:
    """The overlay's pixels after strokes and undo are those of the labels drawn afresh: nothing stale in dirty rectangles."""
    (task,) = served.ask("seen", raters=("sia",))
    desk = visit(served.link("sia"), expected=READS).opened(task.item)
    emptied(desk)
    desk.stroke((5, 5), (30, 9))
    desk.stroke((20, 20), (22, 36))
    desk.page.keyboard.press("Control+z")
    desk.stroke((8, 30), (20, 22))
    desk.page.mouse.move(5, 5)
    desk.saved()
    script = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
      const canvas = document.querySelector('.stage .labels');
      done([...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].join());
    })))"""
    drawn = desk.page.evaluate(script)
    desk.page.reload()
    desk.opened()
    assert desk.page.evaluate(script) == drawn


def test_a_volume_is_labelled_slice_by_slice(volumes: Campaign, visit: Visit) -> None:
    (task,) = volumes.ask("volume", side=12, raters=("vera",))
    shape = task.box.shape
    desk = visit(volumes.link("vera")).opened(task.item)
    desk.page.locator("button", has_text="empty").click()
    labels = np.zeros(shape, np.uint8)
    keys = desk.page.keyboard
    for _ in range(12):
        keys.press("[")
    z = shape[0] // 2
    shown = desk.page.locator(".slices output")
    assert shown.inner_text() == f"{z + 1} / {shape[0]}"
    desk.paint(labels[z], 1, (3, 3), (9, 4))
    keys.press("PageUp")
    desk.page.mouse.move(*desk.place(6, 6))
    desk.page.mouse.wheel(0, -50)
    desk.drawn()
    assert shown.inner_text() == f"{z + 3} / {shape[0]}"
    keys.press("2")
    desk.paint(labels[z + 2], 2, (3, 9), (9, 9))
    keys.press("PageUp")
    desk.page.locator("button", has_text="Copy previous").click()
    labels[z + 3] = labels[z + 2]
    desk.paint(labels[z + 3], 2, (2, 2))
    keys.press("PageDown")
    keys.press("Control+z")  # on the slice where it was
    desk.drawn()
    assert shown.inner_text() == f"{z + 4} / {shape[0]}"
    labels[z + 3] = labels[z + 2]
    desk.saved().submit().note("Submitted")
    (one,) = volumes.submissions(task.id)
    np.testing.assert_array_equal(volumes.mask(one), labels)


def test_window_and_level_change_what_is_shown(volumes: Campaign, visit: Visit) -> None:
    (task,) = volumes.ask("window", side=12, raters=("willa",))
    desk = visit(volumes.link("willa"), expected=READS).opened(task.item)
    mean = """() => new Promise((done) => setTimeout(() => {
      const canvas = document.querySelector('.stage .image'), context = canvas.getContext('2d');
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      let sum = 0, count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 3]) { sum += data[at]; count += 1; }
      done(sum / count);
    }, 150))"""
    automatic = desk.page.evaluate(mean)
    desk.page.mouse.move(500, 300)
    desk.page.mouse.down(button="right")
    desk.page.mouse.move(500, 200)  # a lower level: brighter
    desk.page.mouse.up(button="right")
    assert desk.page.evaluate(mean) > automatic + 10
    desk.page.keyboard.press("w")
    assert desk.page.evaluate(mean) == pytest.approx(automatic, abs=0.01)
    assert desk.page.locator(".slider", has_text="Level").count() == 1


def test_blind_tasks_show_no_suggestion(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("blind", raters=("bly",), blind=True)
    asked: list[str] = []
    desk = visit(served.link("bly"))
    desk.page.on("request", lambda request: asked.append(request.url))
    desk.opened(task.item)
    assert desk.page.locator(".panel", has_text="Without the model's suggestion").count() == 1
    assert desk.page.get_by_role("button", name="Suggestion brush").count() == 0
    for key in ("m", "h", "s"):
        desk.page.keyboard.press(key)
    labels = np.zeros(SHAPE, np.uint8)
    desk.paint(labels, 1, (10, 10), (20, 20))
    desk.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    assert (one.prefill_shown, one.pixels_changed) == (False, None)
    np.testing.assert_array_equal(served.mask(one), labels)
    assert not [url for url in asked if url.endswith(("/prefill", "/uncertainty"))]


def test_who_starts_empty_and_never_looks_saw_no_suggestion(served: Campaign, visit: Visit) -> None:
    first, second = served.ask("unseen", count=2, raters=("uma",))
    desk = visit(served.link("uma")).opened(first.item)
    desk.page.locator("label", has_text="Start tasks from it").locator("input").uncheck()
    desk.submit().note("Submitted")
    desk.opened(second.item)
    labels = np.zeros(SHAPE, np.uint8)
    desk.paint(labels, 1, (10, 10), (20, 20))
    desk.submit()
    desk.page.locator(".card", has_text="2 of them yours").wait_for()
    (accepted,), (alone,) = served.submissions(first.id), served.submissions(second.id)
    assert (accepted.prefill_shown, accepted.pixels_changed) == (True, 0)
    assert (alone.prefill_shown, alone.pixels_changed) == (False, None)
    np.testing.assert_array_equal(served.mask(alone), labels)
