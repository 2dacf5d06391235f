"""The page in a real browser, opened as a file, with the network off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@contextmanager
def opened(browser: Browser, path: Path, **options: object) -> Iterator[Page]:
    """The page in a context of its own; fails when it logs anything or asks for anything but itself."""
    trouble: list[str] = []
    context = browser.new_context(offline=True, **options)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request",
        lambda request: trouble.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
    )
    page.goto(path.as_uri())
    yield page
    context.close()
    assert not trouble


def all_rounds(page: Page) -> None:
    for button in page.locator(".player:not([hidden]) .all").all():
        button.click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "comparison", "volumes_page"])
def test_every_figure_is_drawn(browser: Browser, which: str, scheme: str, request: pytest.FixtureRequest) -> None:
    with opened(browser, request.getfixturevalue(which), color_scheme=scheme) as page:
        all_rounds(page)
        drawn = page.eval_on_selector_all(
            "svg",
            "all => all.map(svg => { const box = svg.getBoundingClientRect(); "
            "return [box.width, box.height, svg.querySelectorAll('path,rect').length]; })",
        )
        assert len(drawn) > 30
        assert all(width > 5 and height > 5 and parts > 0 for width, height, parts in drawn)
        # no mark of a chart lies outside of its own drawing
        outside = page.eval_on_selector_all(
            "svg.chart .pt",
            "all => all.filter(one => { const a = one.getBoundingClientRect(), b = one.ownerSVGElement.getBoundingClientRect(); "
            "return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1; }).length",
        )
        assert outside == 0
        images = page.eval_on_selector_all(
            "image",
            "all => Promise.all(all.map(async one => { const copy = new Image(); copy.src = one.getAttribute('href'); "
            "await copy.decode(); return copy.naturalWidth; }))",
        )
        assert images
        assert min(images) > 0


def test_light_and_dark_follow_the_system_and_the_button(browser: Browser, page: Path) -> None:
    brightness = (
        "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, part) => sum + Number(part), 0)"
    )
    for scheme, bright in (("light", True), ("dark", False)):
        with opened(browser, page, color_scheme=scheme) as view:
            assert (view.evaluate(brightness) > 380) is bright
            view.click("#theme")
            assert view.evaluate(brightness) > 380  # light
            view.click("#theme")
            assert view.evaluate(brightness) < 380  # dark
            view.reload()
            assert view.evaluate(brightness) < 380  # remembered


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_ground(browser: Browser, page: Path, scheme: str) -> None:
    """WCAG 2.2 contrast of at least 4.5 : 1 for text."""
    script = """() => {
      const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      const luminance = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
          const colour = getComputedStyle(one).backgroundColor;
          if (!/, 0\\)$/.test(colour)) return colour;
        }
        return 'white';
      };
      const weak = new Set();
      const words = 'h1,h3,h4,p,td,th,dt,dd,summary,button,.words span,svg.chart text,pre,caption,label';
      for (const element of document.querySelectorAll(words)) {
        if (!element.textContent.trim() || !element.getClientRects().length) continue;
        const style = getComputedStyle(element);
        const own = luminance(element instanceof SVGElement ? style.fill : style.color);
        const [high, low] = [own, luminance(ground(element))].sort((a, b) => b - a);
        const ratio = (high + 0.05) / (low + 0.05);
        if (ratio < 4.5) weak.add(`${element.tagName}.${element.getAttribute('class')} ${ratio.toFixed(2)}`);
      }
      return [...weak];
    }"""
    with opened(browser, page, color_scheme=scheme) as view:
        assert view.evaluate(script) == []


def test_the_slider_shows_one_round_and_the_button_all(browser: Browser, page: Path) -> None:
    with opened(browser, page) as view:
        group = view.locator(".rounds").first
        frames = group.locator(".frame")
        total = frames.count()
        assert total > 1
        assert [frame.is_visible() for frame in frames.all()].count(True) == 1
        assert frames.last.is_visible()
        group.locator("input[type=range]").fill("0")
        assert frames.first.is_visible()
        assert group.locator("output").inner_text() == frames.first.get_attribute("data-round")
        group.locator("[data-step='1']").click()
        assert frames.nth(1).is_visible()
        group.locator(".all").click()
        assert all(frame.is_visible() for frame in frames.all())


def test_without_scripts_everything_is_there(browser: Browser, page: Path) -> None:
    with opened(browser, page, java_script_enabled=False) as view:
        assert all(frame.is_visible() for frame in view.locator(".frame").all())
        assert not view.locator("#theme").is_visible()
        view.locator(".show-heat").uncheck()
        assert not view.locator(".layer-heat").first.is_visible()


def test_layers_can_be_hidden(browser: Browser, page: Path) -> None:
    with opened(browser, page) as view:
        heat, guess = (
            view.locator(".frame:visible .layer-heat").first,
            view.locator(".frame:visible path.layer-guess").last,
        )
        assert heat.is_visible()
        assert guess.evaluate("e => getComputedStyle(e).display") == "none"
        view.locator(".show-heat").first.uncheck()
        view.locator(".show-guess").first.check()
        assert heat.evaluate("e => getComputedStyle(e).display") == "none"
        assert guess.evaluate("e => getComputedStyle(e).display") != "none"


def test_hovering_a_point_tells_its_values(browser: Browser, page: Path) -> None:
    with opened(browser, page) as view:
        point = view.locator("#learning .pt").last
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        assert box is not None
        view.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
        assert view.locator("#tip").is_visible()
        assert view.locator("#tip").inner_text() == point.get_attribute("data-tip")
        view.mouse.move(2, 2)
        assert not view.locator("#tip").is_visible()


def test_a_table_is_copied_as_csv_with_all_digits(browser: Browser, page: Path) -> None:
    with opened(browser, page, permissions=["clipboard-read", "clipboard-write"]) as view:
        view.locator("#learning .data summary").first.click()
        view.locator("#learning .copy").first.click()
        view.locator("#learning .copy", has_text="Copied").first.wait_for()
        lines = view.evaluate("navigator.clipboard.readText()").strip().split("\n")
        data = json.loads(view.locator("#alframe-data").inner_text())[0]
        dice = {m[0]: m[5] for m in data["metrics"] if m[1:5] == ["test", "dice", "", "pooled"]}
        assert lines[0] == "campaign,round,annotated %,dice"
        assert {int(line.split(",")[1]): float(line.split(",")[3]) for line in lines[1:]} == dice


def test_it_fits_a_telephone(browser: Browser, page: Path) -> None:
    with opened(browser, page, viewport={"width": 390, "height": 800}) as view:
        assert view.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_prints_every_round(browser: Browser, page: Path, tmp_path: Path) -> None:
    with opened(browser, page) as view:
        hidden = "() => [...document.querySelectorAll('.frame')].filter(f => f.hidden).length"
        assert view.evaluate(hidden) > 0
        view.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert view.evaluate(hidden) == 0
        view.evaluate("dispatchEvent(new Event('afterprint'))")
        assert view.evaluate(hidden) > 0
        view.emulate_media(media="print", color_scheme="dark")
        assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert len(view.pdf(prefer_css_page_size=True)) > 10_000
