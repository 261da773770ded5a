"""The documentation site: each command and code block of its pages is run, links and extras hold, and it builds."""

import configparser
import os
import re
import shutil
import subprocess
import sys

import pytest
from layouts import make_persons
from places import ROOT

from eruv_dali.demo.__main__ import VIDEOS

DOCS = ROOT / "docs"
# The pages that were written with the site; those before it show benchmarks' commands, which take hours.
PAGES = ("index install first-run your-videos shot-detector loader actions choosing method tables benchmarks scale "
         "troubleshooting api").split()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# The rest of the tiny run that stands in for the one which a reader of first-run.md made.
TINY = ["data.pairs_per_epoch=8", "data.val_pairs=8", "data.batch_size=2", "optim.epochs=1"]


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of the code blocks of a page."""
    return BLOCK.findall((DOCS / f"{page}.md").read_text())


def shell(commands: str, folder) -> None:
    """Run lines of a shell as a reader does who has installed this package."""
    mine = 'eruv() { "$PYTHON" -m eruv_dali "$@"; }; python() { "$PYTHON" "$@"; }\n'
    done = subprocess.run(["bash", "-ec", mine + commands], cwd=folder, capture_output=True, text=True, env={
        **os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "ERUV_ROOT": str(ROOT)})
    assert done.returncode == 0, f"{commands}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def workplace(made_once):
    """What a reader has after the first page, and some labelled videos."""
    def make(folder):
        shutil.copytree(VIDEOS, folder / "my_videos")
        make_persons(folder / "my_actions")
        shell("eruv prepare my_videos/ --out my_dataset --workers 1\n"
              f"eruv pretrain --config demo --videos my_videos/ --out runs/first {' '.join(TINY)}", folder)

    return made_once("docs", make)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_every_block_runs(page, tmp_path, monkeypatch, request):
    if page == "loader":
        pytest.importorskip("lightning")
    if page == "actions":
        pytest.importorskip("onnxscript")
    folder = tmp_path / "here"
    if page in ("first-run", "install"):
        folder.mkdir()
    else:
        shutil.copytree(request.getfixturevalue("workplace"), folder)
    monkeypatch.chdir(folder)
    scope: dict = {"__name__": page}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, f"{page}.md", "exec"), scope)
        else:
            assert language == "sh", f"{page}.md: a block of {language!r}: how is it to be run?"
            shell("\n".join(line for line in text.splitlines() if "pip install" not in line), folder)


def test_every_extra_exists():
    static = configparser.ConfigParser()
    static.read(ROOT / "setup.cfg")
    extras = set(static["options.extras_require"])
    named = {name for file in [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
             for name in re.findall(r"pip install (?:-e )?'(?:\.|eruv_dali)\[([a-z]+)\]'", file.read_text())}
    assert named <= extras and extras <= named


def test_messages_of_troubleshooting_are_those_of_the_programs():
    source = " ".join(re.sub(r'"\s*\n?\s*f?"', "", file.read_text()) for file in (ROOT / "eruv_dali").rglob("*.py"))
    rows = re.findall(r"^\| `(.*?)` \|", (DOCS / "troubleshooting.md").read_text(), re.M)
    assert len(rows) > 12
    for message in rows:
        for part in filter(None, (part.strip(" :;") for part in message.removeprefix("error: ").split("…"))):
            assert part in source, f"no program says {part!r}"


def test_links_lead_somewhere():
    pages = {file.name: file.read_text() for file in DOCS.glob("*.md")}
    for file in [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
            if not target.startswith("http"):
                assert (file.parent / target.partition("#")[0]).exists(), f"{file.name}: {target}"
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert listed == set(pages)


@pytest.mark.slow
def test_the_site_builds_strictly_and_needs_no_network(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")
    pytest.importorskip("mkdocstrings_handlers.python", reason="mkdocstrings is not installed")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert {page.stem for page in pages} >= set(PAGES)
    for page in pages:
        fetched = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?([^\"' >]+)|<link[^>]*\shref=[\"']?([^\"' >]+)",
                             page.read_text())
        assert not [found for found in fetched if "//" in "".join(found)], page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(url\(|@import\s+)[\"']?(https?:)?//", style.read_text()), style
    assert "batch_size" in (tmp_path / "site" / "api.html").read_text()
    assert all('href="tables.css"' in page.read_text() for page in pages if page.stem != "404")
