"""No saved stroke is lost, nothing is labelled twice: reloads, crashes, kills, lost answers, tabs, leases, sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from alframe.testing.desks import work_of
from alframe.types import LabelMap

from .serving import Campaign, Desk, kill_browser, until

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser

Visit = Callable[..., Desk]
SHAPE = (40, 40)
GONE = ("Failed to load resource", "net::ERR")  # what Chromium itself logs of failed requests


def drawing(desk: Desk) -> np.ndarray:
    """Paint a little; what was painted."""
    labels = np.zeros(SHAPE, np.uint8)
    desk.page.locator("button", has_text="empty").click()
    desk.paint(labels, 1, (8, 8), (20, 12), (30, 30))
    return labels


def test_a_reload_keeps_every_stroke(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("reload", raters=("rita",))
    desk = visit(served.link("rita")).opened(task.item)
    labels = drawing(desk)
    desk.saved()
    desk.page.reload()
    desk.opened()
    desk.paint(labels, 1, (5, 35), (12, 35))
    desk.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)
    assert one.prefill_shown
    suggested = np.zeros(SHAPE, np.uint8)
    suggested[:4, :4] = 1
    assert one.pixels_changed == int((labels != suggested).sum())


def test_a_killed_browser_keeps_what_the_page_called_saved(
    served: Campaign, chromium: str, profile: Callable[..., Desk], tmp_path: Path
) -> None:
    """With the server reached, and with the server gone: then the browser alone has the strokes."""
    (task,) = served.ask("crash", raters=("cora",))
    desk = profile(served.link("cora")).opened(task.item)
    labels = drawing(desk)
    desk.saved()
    desk.page.context.set_offline(True)
    desk.paint(labels, 1, (35, 5), (35, 20))
    desk.page.locator(".saved[data-state=local]").wait_for()
    kill_browser(tmp_path)
    desk = profile(served.link("cora")).opened(task.item)  # Chromium writes cookies half a minute late
    desk.note("Your strokes from before are back")
    desk.saved().submit().note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("artifact.mask.after_write", marks=pytest.mark.slow),
        pytest.param("ledger.labelling.submit.before_commit", marks=pytest.mark.slow),
        "ledger.labelling.submit.after_commit",
    ],
)
def test_a_server_killed_in_a_submission_gets_it_once(served: Campaign, visit: Visit, place: str) -> None:
    """SIGKILL before the row, before the commit, and after the commit but before the acknowledgement."""
    name = f"kim-{place.rpartition('.')[2]}-{place.partition('.')[0]}"
    (task,) = served.ask(place.replace(".", "-"), raters=(name,))
    served.stop()
    served.serve(ALFRAME_FAILPOINT=f"{place}:1")
    desk = visit(served.link(name), expected=GONE).opened(task.item)
    labels = drawing(desk)
    desk.saved().submit()
    served.fallen()
    desk.page.locator(".veil", has_text="written down in this browser").wait_for()
    served.serve()
    desk.note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_a_reload_while_a_submission_is_on_its_way_sends_the_same_again(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("twice", raters=("tess",))
    desk = visit(served.link("tess"), expected=GONE).opened(task.item)
    labels = drawing(desk)
    answered: list[int] = []

    def swallow(route: Route) -> None:
        answered.append(route.fetch().status)
        route.abort()

    desk.page.route("**/submissions/*", swallow)
    desk.saved().submit()
    until(lambda: answered or desk.page.wait_for_timeout(50), "the submission")
    assert answered == [201]
    desk.page.unroute("**/submissions/*")
    desk.page.reload()
    desk.note("A submission from before has arrived")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_a_lost_acknowledgement_of_a_submission_makes_no_second_one(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("lost", raters=("lena",))
    desk = visit(served.link("lena"), expected=GONE).opened(task.item)
    labels = drawing(desk)
    statuses: list[int] = []

    def swallow_once(route: Route) -> None:
        answer = route.fetch()
        statuses.append(answer.status)
        if len(statuses) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    desk.page.route("**/submissions/*", swallow_once)
    desk.saved().submit().note("Submitted")
    assert statuses == [201, 200]
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_a_lost_acknowledgement_of_a_draft_is_no_conflict(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("draft", raters=("dora",))
    desk = visit(served.link("dora"), expected=GONE).opened(task.item)
    lost: list[int] = []

    def swallow_once(route: Route) -> None:
        if route.request.method != "PUT" or lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    desk.page.route("**/draft", swallow_once)
    labels = drawing(desk)
    until(lambda: lost or desk.page.wait_for_timeout(50), "the draft")
    desk.paint(labels, 1, (35, 5), (35, 9))
    desk.saved()
    assert desk.page.locator("dialog").count() == 0
    desk.page.reload()
    desk.opened().submit().note("Submitted")
    np.testing.assert_array_equal(served.mask(served.submissions(task.id)[0]), labels)


def test_the_newer_of_two_tabs_goes_on_and_the_older_one_waits(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("tabs", raters=("tom",))
    first = visit(served.link("tom")).opened(task.item)
    labels = drawing(first)  # not saved yet: the second tab must get it all the same
    second = Desk(first.page.context.new_page())
    second.page.goto(served.url)
    second.opened(task.item)
    first.page.locator(".veil", has_text="another tab").wait_for()
    second.paint(labels, 1, (35, 5), (35, 12))
    first.page.bring_to_front()
    first.page.locator("button", has_text="Go on here").click()
    first.page.locator(".veil").wait_for(state="hidden")
    second.page.locator(".veil", has_text="another tab").wait_for()
    first.opened().paint(labels, 1, (3, 30), (9, 36))
    first.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


@pytest.mark.parametrize("choice", ["Keep this one", "Use the other version"])
def test_two_devices_on_one_task_are_asked_whose_strokes_go_on(served: Campaign, visit: Visit, choice: str) -> None:
    name = f"dev-{choice.split()[0].lower()}"
    (task,) = served.ask(name, raters=(name,))
    one = visit(served.link(name)).opened(task.item)
    labels = drawing(one)
    one.saved()
    other = visit(served.link(name), expected=GONE).opened(task.item)
    mine, theirs = labels.copy(), labels.copy()
    one.paint(theirs, 1, (35, 5), (35, 12))
    one.saved()
    other.paint(mine, 1, (4, 20), (4, 30))
    other.page.locator("dialog", has_text="Changed elsewhere").wait_for()
    other.page.locator("dialog button", has_text=choice).click()
    other.saved()
    if choice == "Use the other version":
        other.page.keyboard.press("Control+z")  # what was drawn here is one step behind
        other.page.keyboard.press("Control+y")
        mine = theirs
    other.submit().note("Submitted")
    (kept,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(kept), mine)


def test_a_task_handed_in_on_two_devices_counts_once(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("both", raters=("bea",))
    one, other = (visit(served.link("bea"), expected=GONE).opened(task.item) for _ in range(2))
    drawing(one)
    one.submit().note("Submitted")
    labels = drawing(other)
    other.submit()
    other.page.locator("dialog", has_text="handed in already").wait_for()
    other.page.locator("dialog button", has_text="This one").click()
    other.note("Submitted")
    first, second = served.submissions(task.id)
    assert (first.current, second.current, second.supersedes) == (False, True, first.id)
    np.testing.assert_array_equal(served.mask(second), labels)
    assert served.desk.ledger.task(task.id).counted == 1


def test_a_lease_that_ran_out_comes_back_while_its_place_is_free(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("expired", raters=("eva",))
    desk = visit(served.link("eva"), expected=GONE).opened(task.item)
    labels = drawing(desk)
    desk.saved()
    served.overdue("eva")
    desk.page.clock.install()
    desk.page.clock.run_for(70_000)
    desk.page.mouse.move(300, 300)
    until(lambda: active(served, task.id), "the lease is back")
    assert desk.page.locator(".banner").is_hidden()
    desk.submit().note("Submitted")
    (one,) = served.submissions(task.id)
    assert one.standing == "on_time"
    np.testing.assert_array_equal(served.mask(one), labels)


def active(served: Campaign, task: str) -> bool:
    return served.desk.ledger.task(task).taken == 1


@pytest.mark.parametrize("taken", [False, True])
def test_a_late_submission_is_kept_and_counts_where_it_can(served: Campaign, visit: Visit, taken: bool) -> None:
    name, other = f"late-{taken}", f"fast-{taken}"
    (task,) = served.ask(name, raters=(name, other))
    desk = visit(served.link(name), expected=GONE).opened(task.item)
    labels = drawing(desk)
    desk.saved()
    served.overdue(name)
    if taken:
        who = served.rater(other)
        given = served.desk.claim(who, served.name)
        assert given is not None
        assert given.task.id == task.id
        full = LabelMap(classes=np.ones(SHAPE, np.uint8))
        served.desk.submit(who, given.lease.id, work_of(full))
    desk.paint(labels, 1, (35, 5), (35, 12))
    desk.submit().note("it is kept as an extra label" if taken else "Handed in late, and it counts")
    (one,) = [found for found in served.submissions(task.id) if found.rater == name]
    assert (one.standing, one.counts) == (("extra", False) if taken else ("late", True))
    np.testing.assert_array_equal(served.mask(one), labels)
    assert served.desk.ledger.task(task.id).counted == 1


def test_a_session_that_ends_in_the_middle_costs_nothing(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("session", raters=("sven",))
    desk = visit(served.link("sven"), expected=GONE).opened(task.item)
    labels = drawing(desk)
    desk.saved()
    served.roster.revoke("sven")
    desk.paint(labels, 1, (35, 5), (35, 12))
    dialog = desk.page.locator("dialog", has_text="Your session has ended")
    dialog.wait_for()
    invite = served.link("sven")
    dialog.locator("input").fill(invite)
    dialog.locator("button", has_text="Sign in").click()
    dialog.wait_for(state="detached")
    desk.saved().submit()
    desk.page.locator("#notes .note").first.wait_for()
    (one,) = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(one), labels)


def test_two_raters_at_once_draw_different_tasks(served: Campaign, visit: Visit) -> None:
    tasks = served.ask("pair", count=2, raters=("una", "uwe"))
    desks = [visit(served.link(name)).opened() for name in ("una", "uwe")]
    drawn = [drawing(desk) for desk in desks]
    for desk in desks:
        desk.submit().note("Submitted")
    said = [served.submissions(task.id) for task in tasks]
    assert [len(one) for one in said] == [1, 1]
    assert {one.rater for (one,) in said} == {"una", "uwe"}
    for (one,) in said:
        np.testing.assert_array_equal(served.mask(one), drawn[["una", "uwe"].index(one.rater)])


def test_a_correction_replaces_the_submission_and_keeps_it(served: Campaign, visit: Visit) -> None:
    (task,) = served.ask("correct", raters=("cleo",))
    desk = visit(served.link("cleo")).opened(task.item)
    labels = drawing(desk)
    desk.submit().note("Submitted")
    desk.page.locator("#notes button", has_text="Correct it").click()
    desk.page.locator(".banner", has_text="correcting").wait_for()
    before = labels.copy()
    desk.paint(labels, 1, (35, 5), (35, 12))
    desk.saved()
    desk.page.reload()  # the browser keeps the correction, too
    desk.page.locator("button", has_text="Correct my last").click()
    desk.page.locator("dialog button", has_text="Open").click()
    desk.opened().submit().note("Submitted")
    first, second = served.submissions(task.id)
    np.testing.assert_array_equal(served.mask(first), before)
    np.testing.assert_array_equal(served.mask(second), labels)
    assert second.supersedes == first.id


def test_what_cannot_be_labelled_is_said_with_its_reason(served: Campaign, visit: Visit) -> None:
    tasks = served.ask("cannot", count=4, raters=("nora",))
    desk = visit(served.link("nora"))
    said = {}
    for outcome in ("ambiguous", "skipped", "empty_confirmed", "unusable"):
        item = desk.opened().stage.get_attribute("aria-label")
        if outcome == "empty_confirmed":
            desk.page.locator("button", has_text="empty").click()
            desk.submit().page.locator("dialog button", has_text="it is empty").click()
        else:
            desk.page.keyboard.press("n")
            desk.page.locator(f"dialog input[value={outcome}]").check()
            reason = desk.page.locator("dialog textarea")
            reason.fill(f"<b>{outcome}</b>")
            desk.page.locator("dialog button", has_text="Hand in").click()
            assert "Plain words" in reason.evaluate("one => one.validationMessage")  # the server would refuse it
            reason.fill(f'{outcome}: nuclei < 5 µm & "pale"')
            desk.page.locator("dialog button", has_text="Hand in").click()
        desk.page.wait_for_function("(was) => document.querySelector('.bench .stage')?.ariaLabel !== was", arg=item)
        said[outcome] = item
    found = {one.outcome: one for task in tasks for one in served.submissions(task.id)}
    assert set(found) == set(said)
    assert found["ambiguous"].reason == 'ambiguous: nuclei < 5 µm & "pale"'
    assert not served.mask(found["empty_confirmed"]).any()
    for outcome, label in said.items():
        assert served.desk.ledger.task(found[outcome].task).item in (label or "")
