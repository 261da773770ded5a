"""The pages in a real browser, without a screen: shots, neighbours, comparison, pairs and the training report; at 400
and 1,600 pixels, light and dark, by keyboard, with less motion, without scripts."""

import json
import re
from pathlib import Path

import pytest
from browser import chromium, faults, opened, reachable

from eruv_dali import page as pages_style
from eruv_dali.compare.entrants import Entrant
from eruv_dali.compare.page import comparison_page
from eruv_dali.compare.summary import folder, rows
from eruv_dali.page import ticks
from eruv_dali.prepare.shot_page import draw_shots
from eruv_dali.train.config import load_config
from eruv_dali.visualize.neighbours import draw_neighbours
from eruv_dali.visualize.pairs import draw_pairs
from eruv_dali.visualize.training import draw_training

PAGES = ("shots", "neighbours", "compare", "pairs", "training")


def write_neighbours(run: Path, videos: list[Path]) -> None:
    queries = [{"video": str(query), "class": "walk & run", "neighbours": [
        {"video": str(other), "class": "a_class_with_a_rather_long_name", "similarity": 0.9 - place / 10,
         "hit": place % 2 == 0} for place, other in enumerate(videos)]} for query in videos[:2]]
    run.mkdir()
    (run / "neighbours.json").write_text(json.dumps({"queries": queries}))


def comparison(out: Path) -> str:
    """Three starts by four measures, three seeds, one of them not by fine-tuning."""
    config = load_config(None)
    field = [Entrant(name, config, 4800, name, 112) for name in ("eruv", "puzzle3d")]
    field.append(Entrant("none", config, 0, "none", 112))
    for number, entrant in enumerate(field):
        for seed in range(3):
            for measure in ("retrieval", "knn", "probe", "finetune")[: 3 if entrant.name == "none" and seed else 4]:
                top1 = {"top1": 0.3 + 0.1 * number + 0.04 * seed}
                run = folder(out, entrant, seed, measure)
                run.mkdir(parents=True)
                (run / "result.json").write_text(json.dumps({**top1, "topk": top1}))
    found = rows(field, ["retrieval", "knn", "probe", "finetune"], [0, 1, 2], out, "ucf101")
    return comparison_page(found, 0.1, "Pre-trained on my_dataset & more, evaluated on folder/of/actions.")


@pytest.fixture(scope="session")
def pages(made_once, pretrained) -> Path:
    """A folder with the five pages, NAME.html."""
    def make(out: Path) -> None:
        draw_shots(pretrained / "dataset", out / "shots.html")
        write_neighbours(out / "found", sorted((pretrained / "videos").rglob("*.mp4")))
        draw_neighbours(out / "found", out / "neighbours.html", k=4)
        (out / "compare.html").write_text(comparison(out / "compared"))
        draw_pairs(pretrained / "run", out / "pairs.html", device="cpu")
        draw_training(pretrained / "run", out / "training.html", samples=3, device="cpu")

    return made_once("pages", make)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read(browser, pages, name):
    """No errors, nothing cut off or overlapping, contrast, words for pictures, at both widths in both schemes."""
    found = []
    for width in (400, 1600):
        for scheme in ("light", "dark"):
            with opened(browser, pages / f"{name}.html", width=width, color_scheme=scheme) as (page, wrong):
                assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
                    "rgb(255, 255, 255)" if scheme == "light" else "rgb(19, 22, 27)")
                found += [f"{width} {scheme}: {fault}" for fault in (*faults(page), *wrong)]
                assert page.evaluate("document.images.length + document.querySelectorAll('[role=img], .track').length")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_all_that_can_be_used_is_reached_by_keyboard(browser, pages, name):
    found = []
    for width in (400, 1600):
        with opened(browser, pages / f"{name}.html", width=width) as (page, wrong):
            found += [f"{width}: {fault}" for fault in (*reachable(page), *wrong)]
    assert not found, "\n".join(found)


def focus(page, selector: str) -> None:
    """Go to an element as a keyboard does."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not reach {selector}")


def moving(page) -> str:
    """Where the pictures are, and whether they move."""
    return page.evaluate("""() => { const style = getComputedStyle(document.querySelector(".many"));
                            return `${style.animationName} ${style.backgroundPositionX}`; }""")


def test_clips_are_paused_and_stepped_by_keyboard(browser, pages):
    with opened(browser, pages / "pairs.html") as (page, wrong):
        assert moving(page).startswith("frames ")
        seen = {moving(page) for _ in range(8) if page.wait_for_timeout(130) is None}
        assert len(seen) > 3  # it moves
        focus(page, "#play")
        page.keyboard.press("Space")
        assert moving(page) == "none 0%" and page.inner_text("#play") == "Play"
        page.keyboard.press("Enter")
        assert moving(page).startswith("frames ") and page.inner_text("#play") == "Pause"
        focus(page, "#step input")  # to look at a frame pauses
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.inner_text("#step output") == "4 of 16" and page.inner_text("#play") == "Play"
        # The fourth of 16 pictures side by side: three sixteenths of the strip are to the left of the window.
        assert moving(page) == "none 20%"
        shown = page.evaluate("""() => { const box = document.querySelector(".many"), style = getComputedStyle(box);
            const width = box.clientWidth * parseFloat(style.backgroundSize) / 100;
            return parseFloat(style.backgroundPositionX) / 100 * (width - box.clientWidth) / box.clientWidth; }""")
        assert shown == pytest.approx(3)
        page.keyboard.press("End")
        assert moving(page) == "none 100%" and not wrong


def test_samples_are_filtered_by_keyboard(browser, pages):
    page_text = (pages / "pairs.html").read_text()
    cards = re.findall(r'data-kind="(\d)" data-state="(\w+)"', page_text)
    with opened(browser, pages / "pairs.html") as (page, wrong):
        def shown() -> list[tuple[str, str]]:
            return [tuple(each) for each in page.evaluate("""() => [...document.querySelectorAll(".sample")]
                .filter((e) => e.getClientRects().length).map((e) => [e.dataset.kind, e.dataset.state])""")]

        assert shown() == cards
        focus(page, "#wrong")
        page.keyboard.press("Space")
        mistakes = [card for card in cards if card[1] == "wrong"]
        assert shown() == mistakes and page.inner_text("#shown") == f"{len(mistakes)} shown"
        assert 0 < len(mistakes) < len(cards)
        page.keyboard.press("Space")
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.id") == "kind"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        chosen = page.evaluate("document.getElementById('kind').value")
        assert chosen and shown() == [card for card in cards if card[0] == chosen] and not wrong


def test_links_details_and_wide_tables_by_keyboard(browser, pages):
    with opened(browser, pages / "shots.html") as (page, wrong):
        focus(page, "nav a[href='#video-2']")
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#video-2" and not wrong
        assert abs(page.evaluate("document.getElementById('video-2').getBoundingClientRect().top")) < 500
    with opened(browser, pages / "compare.html", width=400) as (page, wrong):
        focus(page, ".scroll")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("document.activeElement.scrollLeft > 20")
    with opened(browser, pages / "training.html") as (page, wrong):
        focus(page, "summary")
        page.keyboard.press("Enter")
        assert page.evaluate("document.querySelector('details').open") and not wrong


def test_less_motion_is_respected_until_asked_otherwise(browser, pages):
    for name in ("pairs", "neighbours", "training"):
        with opened(browser, pages / f"{name}.html", reduced_motion="reduce") as (page, _):
            assert moving(page) == "none 0%" and page.inner_text("#play") == "Play"
            page.click("#play")
            assert moving(page).startswith("frames ")


def test_without_scripts_the_pictures_still_move(browser, pages):
    for motion, moves in (("no-preference", True), ("reduce", False)):
        with opened(browser, pages / "pairs.html", java_script_enabled=False, reduced_motion=motion) as (page, _):
            seen = {page.locator(".many").first.screenshot() for _ in range(5) if page.wait_for_timeout(150) is None}
            assert (len(seen) > 2) is moves
            assert not page.locator("#play").is_visible()


def test_the_checks_find_what_they_look_for(browser, tmp_path):
    """Each fault of this page is named, so that an empty list means something."""
    (tmp_path / "bad.html").write_text("""<!doctype html><html><head><style>body { background: #fff; }</style></head>
        <div style="width: 900px">wide</div> <p style="color: #888">pale</p> <img src="gone.png">
        <svg width="20" height="20"><text x="15" y="15">far</text><text x="16" y="15">too</text></svg>
        <button></button> <div tabindex="-1" style="overflow: auto; width: 90px"><p style="width: 300px">in</p></div>
        <a href="#x" tabindex="-1">x</a> <script>undefined_name()</script>""")
    with opened(browser, tmp_path / "bad.html", width=400) as (page, wrong):
        said = "\n".join((*faults(page), *wrong, *reachable(page)))
    for words in ("the page is 9", "cut off", "contrast 3.5", "no alt text", "outside its picture",
                  "overlap: far and too", "a picture without words", "an input without words", "no title",
                  "script: undefined_name", "request: file:", "not reached: <a", "not reached: <div"):
        assert words in said, f"{words}\n{said}"


def test_colours_of_both_schemes_have_contrast():
    """Also of lines and marks, which a page may lack."""
    def luminance(colour: str) -> float:
        whole = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
        parts = [int(whole[place:place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = (dict(re.findall(r"--(\w+): #([0-9a-f]+)", part))
                   for part in pages_style.STYLE.split("@media")[:2])
    assert set(light) == set(dark) and len(light) == 17
    for scheme in (light, dark):
        for name, least in {**dict.fromkeys(("ink", "faint", "accent", "right", "wrong"), 4.5),
                            **dict.fromkeys(("mark", *(f"c{number}" for number in range(7))), 3)}.items():
            for paper in ("paper", "panel"):
                a, b = sorted((luminance(scheme[name]), luminance(scheme[paper])), reverse=True)
                assert (a + 0.05) / (b + 0.05) >= least, (name, paper)


def test_ticks():
    assert ticks(0.09, 4) == [0, 0.05] or ticks(0.09, 4) == [0, 0.02, 0.04, 0.06, 0.08]
    assert ticks(300, 5) == [0, 100, 200, 300] and ticks(1, 4) == [0, 0.5, 1] and ticks(7, 10) == list(range(8))
    assert ticks(0, 4) == ticks(float("nan"), 4) == ticks(float("inf"), 4) == [0]
