"""A real browser without a screen, for tests of pages: the machine's Chromium, driven by Playwright.

    ERUV_CHROMIUM=FILE   the browser; else the first of NAMES on the PATH

The faults that `faults` finds in an open page are those that a reader has at any width, light or dark: what is cut off
or overlaps, text too pale to read, pictures and inputs without words.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "no browser"


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, started; the test is skipped where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip(f"{NO_BROWSER}: playwright is not installed (pip install -e '.[test]')")
    found = os.environ.get("ERUV_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"{NO_BROWSER}: none of {', '.join(NAMES)} is installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        # In a container /dev/shm is small; the sandbox is off unless asked for, and root needs it off.
        started = playwright.chromium.launch(executable_path=found, args=["--disable-dev-shm-usage", "--disable-gpu"])
        yield started
        started.close()


@contextmanager
def opened(browser: Any, file: Path, *, width: int = 1600, **context: Any) -> Iterator[tuple[Any, list[str]]]:
    """(page, what went wrong): the file in a window of this width. The second is filled while the page is used: with
    what the console was told, exceptions of scripts, and requests for anything that is not in the file."""
    wrong: list[str] = []
    made = browser.new_context(viewport={"width": width, "height": 900}, **context)
    page = made.new_page()
    page.on("console", lambda message: wrong.append(f"console: {message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("request", lambda request: None if request.url.startswith(("data:", file.as_uri())) else
            wrong.append(f"request: {request.url}"))
    try:
        page.goto(file.as_uri())
        yield page, wrong
    finally:
        made.close()


def faults(page: Any) -> list[str]:
    """What a reader would complain of, all details opened."""
    return page.evaluate(FAULTS)


def reachable(page: Any) -> list[str]:
    """Everything that can be clicked, scrolled or changed and cannot be reached by the Tab key, or shows no focus; all
    details opened."""
    stops = page.evaluate(f"""() => {{ for (const each of document.querySelectorAll("details")) each.open = true;
        {INTERACTIVE} window.wanted = wanted;
        return new Set([...wanted, ...document.querySelectorAll("[tabindex]")]).size; }}""")
    page.evaluate("() => { document.activeElement.blur(); window.reached = []; window.dull = []; }")
    for _ in range(stops):
        page.keyboard.press("Tab")
        page.evaluate("""() => { const e = document.activeElement; reached.push(e);
            if (e !== document.body && getComputedStyle(e).outlineStyle === "none") dull.push(e); }""")
    return page.evaluate("""() => [
        ...wanted.filter((e) => !reached.includes(e)).map((e) => `not reached: ${e.outerHTML.slice(0, 90)}`),
        ...dull.map((e) => `no focus to be seen: ${e.outerHTML.slice(0, 90)}`)]""")


INTERACTIVE = """
    const wanted = [...document.querySelectorAll("a[href], button, select, input, summary, [onclick], [role=button]")]
        .concat([...document.querySelectorAll("*")].filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth &&
            /auto|scroll/.test(getComputedStyle(e).overflowX)))
        .filter((e) => e.checkVisibility() && !e.disabled);
"""

FAULTS = """() => {
    const found = [], wide = document.documentElement.clientWidth, short = (e) => e.outerHTML.slice(0, 110);
    for (const each of document.querySelectorAll("details")) each.open = true;
    if (document.documentElement.scrollWidth > wide)
        found.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${wide}`);

    // Cut off: beyond the window, unless within something that scrolls and can be focused.
    const scrolls = (e) => {
        for (let up = e.parentElement; up; up = up.parentElement)
            if (/auto|scroll/.test(getComputedStyle(up).overflowX)) return up.tabIndex >= 0;
        return false;
    };
    const all = [...document.body.querySelectorAll("*")].filter((e) => e.getClientRects().length);
    for (const each of all) {
        const box = each.getBoundingClientRect();
        if ((box.right > wide + 0.5 || box.left < -0.5) && box.width && !scrolls(each))
            found.push(`cut off (${box.left.toFixed(0)} to ${box.right.toFixed(0)} of ${wide}): ${short(each)}`);
        if (each.scrollWidth > each.clientWidth + 1 && /hidden|clip/.test(getComputedStyle(each).overflowX) &&
            !each.closest("svg")) found.push(`cut off within: ${short(each)}`);
    }

    // Words of a picture: outside it, or over one another.
    for (const group of document.querySelectorAll("svg, .below, .beside, .labels")) {
        const words = [...group.querySelectorAll(":scope > text, :scope > span")]
            .map((e) => [e, e.getBoundingClientRect()]).filter(([, box]) => box.width);
        const frame = group.getBoundingClientRect();
        words.forEach(([one, a], place) => {
            if (group.tagName === "svg" && (a.left < frame.left - 1 || a.right > frame.right + 1 ||
                a.top < frame.top - 1 || a.bottom > frame.bottom + 1)) found.push(`outside its picture: ${short(one)}`);
            for (const [other, b] of words.slice(place + 1))
                if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
                    found.push(`overlap: ${one.textContent} and ${other.textContent}`);
        });
    }

    // Contrast of text, by WCAG's formula: at least 4.5.
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colours) => {  // from the bottom up, over the colour of an empty page
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
    for (const each of all) {
        if (![...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        const style = getComputedStyle(each), under = [];
        for (let up = each; up; up = up.parentElement) under.unshift(getComputedStyle(up).backgroundColor);
        const paper = paint(under);
        if (paper[3] < 255) { found.push(`no background: ${short(each)}`); continue; }
        const ink = paint([...under, each.closest("svg") ? style.fill : style.color]);
        const [light, dark] = [luminance(ink), luminance(paper)].sort((a, b) => b - a);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(2)}: ${short(each)}`);
    }

    // Words for those who do not see the pictures.
    const hidden = (e) => e.closest("[aria-hidden=true]");
    for (const each of document.querySelectorAll("img"))
        if (!each.alt.trim()) found.push(`no alt text: ${short(each)}`);
    for (const each of all) {
        const picture = each.tagName === "svg" || getComputedStyle(each).backgroundImage.startsWith("url(");
        if (picture && !hidden(each) && !(each.getAttribute("role") === "img" && each.getAttribute("aria-label")))
            found.push(`a picture without words: ${short(each)}`);
    }
    for (const each of document.querySelectorAll("input, select, button, a[href]"))
        if (!(each.labels && each.labels.length) && !each.textContent.trim() && !each.ariaLabel)
            found.push(`an input without words: ${short(each)}`);
    if (!document.title || !document.documentElement.lang || !document.querySelector("h1")) found.push("no title");
    return found;
}"""
