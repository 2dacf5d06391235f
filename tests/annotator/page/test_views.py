"""Signing in, reviewing, the campaign's view; reached by keys, read by screen readers, safe from what people write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from alframe.labelling import Scope, TaskState
from alframe.testing.desks import work_of
from alframe.types import LabelMap, Outcome

from .serving import Campaign, Desk, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Visit = Callable[..., Desk]
GONE = ("Failed to load resource", "net::ERR")
ALL = (Scope.ANNOTATE, Scope.REVIEW, Scope.ADMIN)


REACHABLE = """() => {
  const all = [...document.querySelectorAll('a[href], button, input, textarea, select, summary, .stage')];
  // of a group of radio buttons one is in the tab order; the others are reached by arrows
  const other = (one) => one.getAttribute('role') === 'radio' && one.tabIndex < 0;
  const shown = all.filter((one) => one.checkVisibility() && !one.disabled && !other(one) && !one.closest('.skip'));
  shown.forEach((one, index) => { one.dataset.want = index; });
  document.activeElement.blur();
  return shown.length;
}"""
FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  return [one.dataset.want ?? '', style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0, one.outerHTML.slice(0, 200)];
}"""


def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]} ({one['nodes'][0].get('failureSummary', '')[:200]})"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def disputed(served: Campaign, name: str) -> tuple[str, list[np.ndarray]]:
    """A task on which three raters disagree; one says why it cannot be told."""
    raters = [f"{name}-{number}" for number in range(3)]
    (task,) = served.ask(name, raters=tuple(raters), replicas=3, adjudicate_above=0.05)
    masks = []
    for number, rater in enumerate(raters):
        who = served.rater(rater)
        given = served.desk.claim(who, served.name)
        assert given is not None
        if number == 2:
            reason = "<img src=x onerror=\"document.title='taken'\">"
            work = work_of(None, Outcome.AMBIGUOUS, reason=reason)
        else:
            drawn = np.zeros((40, 40), np.uint8)
            drawn[5 : 20 + 10 * number, 5:20] = 1
            masks.append(drawn)
            work = work_of(LabelMap(classes=drawn), active_ms=61_000)
        served.desk.submit(who, given.lease.id, work)
    assert served.desk.ledger.task(task.id).state is TaskState.DISPUTED
    return task.id, masks


def test_an_invite_works_once_and_leaves_no_trace(served: Campaign, visit: Visit) -> None:
    link = served.link("ivy")
    desk = visit(link)
    desk.page.locator(".card", has_text="Nothing to label right now").wait_for()
    assert "invite" not in desk.page.url
    assert desk.page.evaluate("history.length") <= 2
    again = visit(link, expected=GONE)
    again.page.locator("h1", has_text="This invite does not work").wait_for()
    again.page.locator("input").fill("nonsense")
    again.page.keyboard.press("Enter")
    again.page.locator(".wrong", has_text="not valid").wait_for()
    assert faults(again.page) == []
    again.page.locator("input").fill(served.link("ivy"))
    again.page.keyboard.press("Enter")
    again.page.locator(".card", has_text="Nothing to label right now").wait_for()


def test_signing_out_ends_the_session(served: Campaign, visit: Visit) -> None:
    desk = visit(served.link("olaf"), expected=GONE)
    desk.page.locator(".card", has_text="Nothing to label right now").wait_for()
    desk.page.get_by_role("button", name="Sign out").click()
    desk.page.locator("h1", has_text="Welcome").wait_for()
    desk.page.reload()
    desk.page.locator("h1", has_text="Welcome").wait_for()


def test_a_rater_sees_nothing_of_review_and_campaign(served: Campaign, visit: Visit) -> None:
    desk = visit(served.link("plain"))
    desk.page.locator(".card").wait_for()
    assert desk.page.locator("#views a:visible").count() == 0
    desk.page.goto(f"{served.url}#/admin")
    desk.page.locator(".card", has_text="Nothing to label right now").wait_for()


def test_a_reviewer_compares_and_decides(served: Campaign, visit: Visit) -> None:
    task, masks = disputed(served, "split")
    desk = visit(served.link("reva", ALL))
    desk.page.locator("#views a", has_text="Review").click()
    desk.page.locator(f".task[data-task='{task}']").click()
    desk.page.locator(".gallery .seen").first.wait_for()
    assert desk.page.locator(".seen b").all_inner_texts() == ["split-0", "split-1", "Majority", "Differences", "Model"]
    for width in (1280, 800, 380):  # one view for all: in a smaller stage it would be cut
        desk.page.set_viewport_size({"width": width, "height": 800})
        sizes = desk.page.locator(".seen .stage").evaluate_all(
            "all => all.map((one) => [one.clientWidth, one.clientHeight])"
        )
        assert len(sizes) == 5
        assert len(set(map(tuple, sizes))) == 1, sizes
        hints = desk.page.locator(".seen .hint").evaluate_all(
            "all => all.map((one) => one.scrollWidth - one.clientWidth)"
        )
        assert max(hints) <= 0, "what is said under a name is whole"
    desk.page.set_viewport_size({"width": 1280, "height": 800})
    apart = int((masks[0] != masks[1]).sum())
    assert (
        desk.page.locator(".seen", has_text="Differences").locator(".hint").inner_text().startswith(f"{apart} pixels")
    )
    dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
    assert desk.page.locator(".chips b").inner_text() == f"{dice:.3f}"
    reason = desk.page.locator(".chips q").inner_text()
    assert "onerror" in reason  # as text
    assert desk.page.title() != "taken"
    assert faults(desk.page) == []
    desk.page.locator(".seen", has_text="split-1").get_by_role("button", name="Start here").click()
    desk.opened()
    labels = masks[1].copy()
    desk.paint(labels, 1, (35, 35), (30, 35))
    desk.saved()
    desk.page.reload()
    desk.page.locator(f".task[data-task='{task}']").click()
    desk.page.locator(".seen", has_text="Majority").get_by_role("button", name="Start here").click()
    desk.page.locator("dialog button", has_text="Go on with it").click()  # what was drawn before the reload
    desk.opened().submit().note("Decided")
    decided = served.submissions(task)[-1]
    assert (decided.standing, decided.rater) == ("adjudication", "reva")
    np.testing.assert_array_equal(served.mask(decided), labels)
    assert served.desk.ledger.task(task).state is TaskState.DONE
    desk.page.locator(".segments button", has_text="Done").click()
    desk.page.locator(f".task[data-task='{task}']").click()
    desk.page.locator(".seen b", has_text="reva, decided").wait_for()


def test_a_volume_is_reviewed_slice_by_slice(volumes: Campaign, visit: Visit) -> None:
    raters = ("vol-a", "vol-b")
    (task,) = volumes.ask("voldis", side=12, raters=raters, replicas=2, adjudicate_above=0.05)
    for number, rater in enumerate(raters):
        who = volumes.rater(rater)
        given = volumes.desk.claim(who, volumes.name)
        assert given is not None
        drawn = np.zeros(task.box.shape, np.uint8)
        drawn[3 + number : 8, 2:7, 2:7] = 1 + number
        volumes.desk.submit(who, given.lease.id, work_of(LabelMap(classes=drawn)))
    desk = visit(volumes.link("revo", ALL))
    desk.page.goto(f"{volumes.url}#/review")
    desk.page.locator(f".task[data-task='{task.id}']").click()
    stage = desk.page.locator(".seen .stage").first
    stage.wait_for()
    stage.focus()
    before = desk.page.get_by_label("Slice").input_value()
    desk.page.keyboard.press("PageUp")
    assert int(desk.page.get_by_label("Slice").input_value()) == int(before) + 1
    assert faults(desk.page) == []


def test_the_campaign_is_shown_and_kept_up_to_date(served: Campaign, visit: Visit) -> None:
    first, second = served.ask("admin", count=2, raters=("adam",))
    desk = visit(served.link("ada", ALL))
    desk.page.locator("#views a", has_text="Campaign").click()
    desk.page.locator("h1", has_text="glands").wait_for()
    tile = desk.page.locator(".tiles div", has_text="Regions in this round").locator("dd").first
    assert tile.inner_text().endswith(" of 2")
    assert desk.page.locator(".cards li b", has_text=first.item).count() >= 1
    assert (
        desk.page.locator(".cards img").first.evaluate(
            "async (one) => { await one.decode(); return one.naturalWidth; }"
        )
        == 40
    )
    assert faults(desk.page) == []
    who = served.rater("adam")
    given = served.desk.claim(who, served.name)
    assert given is not None
    served.desk.submit(who, given.lease.id, work_of(LabelMap(classes=np.ones((40, 40), np.uint8)), active_ms=63_000))
    row = desk.page.locator("tr", has_text="adam")
    row.wait_for()
    assert row.locator("td").all_inner_texts()[:3] == ["1", "1:03", "1:03"]
    assert tile.inner_text() == "1 of 2"
    assert second.id not in (given.task.id,) or first.id != given.task.id


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(served: Campaign, volumes: Campaign, visit: Visit, scheme: str) -> None:
    (task,) = served.ask(f"axe-{scheme}", raters=(f"axel-{scheme}",))
    desk = visit(served.link(f"axel-{scheme}", ALL), color_scheme=scheme).opened(task.item)
    assert faults(desk.page) == []
    for key, title in (("?", "Keys"), ("n", "cannot be labelled")):
        desk.page.keyboard.press(key)
        desk.page.locator("dialog h2", has_text=title).wait_for()
        assert faults(desk.page) == []
        desk.page.keyboard.press("Escape")
        desk.page.locator("dialog").wait_for(state="detached")
    desk.page.keyboard.press("h")
    assert faults(desk.page) == []
    (deep,) = volumes.ask(f"axe-{scheme}", side=12, raters=(f"axel-{scheme}",))
    desk = visit(volumes.link(f"axel-{scheme}"), color_scheme=scheme).opened(deep.item)
    assert faults(desk.page) == []
    desk.page.keyboard.press("n")
    desk.page.locator("dialog input[value=skipped]").check()
    desk.page.locator("dialog button", has_text="Hand in").click()
    desk.page.locator(".card", has_text="Nothing to label right now").wait_for()
    assert faults(desk.page) == []


@pytest.mark.parametrize("view", ["label", "review", "admin"])
def test_everything_is_reached_by_tab(served: Campaign, visit: Visit, view: str) -> None:
    disputed(served, f"tab-{view}")
    served.ask(f"tab-{view}-own", raters=(f"tabea-{view}",))
    desk = visit(served.link(f"tabea-{view}", ALL)).opened()
    desk.page.goto(f"{served.url}#/{view}")
    if view == "review":
        desk.page.locator(".task").first.click()
        desk.page.locator(".seen").first.wait_for()
    desk.page.locator({"label": ".bench", "review": ".gallery", "admin": ".cards"}[view]).wait_for()
    desk.drawn()
    wanted = desk.page.evaluate(REACHABLE)
    seen: set[str] = set()
    for _ in range(wanted + 12):
        desk.page.keyboard.press("Tab")
        found, outlined, what = desk.page.evaluate(FOCUSED)
        assert outlined or not found, f"no focus is seen on {what}"
        seen.add(found)
    missed = [str(number) for number in range(wanted) if str(number) not in seen]
    assert [
        desk.page.locator(f"[data-want='{one}']").evaluate("e => e.outerHTML.slice(0, 120)") for one in missed
    ] == []


@pytest.mark.parametrize("size", [(1280, 800), (1112, 834), (834, 1112)])
def test_it_fits_laptops_and_tablets(served: Campaign, visit: Visit, size: tuple[int, int]) -> None:
    name = f"fit-{size[0]}"
    served.ask(name, raters=(name,))
    desk = visit(served.link(name)).opened()
    desk.page.set_viewport_size({"width": size[0], "height": size[1]})
    desk.drawn()
    assert desk.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    box, button = desk.stage.bounding_box(), desk.page.locator(".submit").bounding_box()
    assert box is not None
    assert button is not None
    assert box["width"] > size[0] * 0.45
    assert box["height"] > size[1] * 0.45
    assert button["x"] + button["width"] <= size[0]
    assert button["y"] + button["height"] <= size[1]


def test_the_theme_is_chosen_and_remembered(served: Campaign, visit: Visit) -> None:
    desk = visit(served.link("thea"), color_scheme="dark")
    desk.page.locator(".card").wait_for()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = desk.page.evaluate(ground)
    desk.page.locator("#theme").click()
    light = desk.page.evaluate(ground)
    assert light != dark
    desk.page.reload()
    desk.page.locator(".card").wait_for()
    assert desk.page.evaluate(ground) == light
    desk.page.locator("#theme").click()
    assert desk.page.evaluate(ground) == dark


def test_work_that_comes_opens_by_itself(served: Campaign, visit: Visit) -> None:
    desk = visit(served.link("wendy"))
    desk.page.locator(".card", has_text="Nothing to label right now").wait_for()
    (task,) = served.ask("later", raters=("wendy",))
    desk.opened(task.item)
    until(lambda: served.desk.ledger.task(task.id).taken == 1, "the lease")
