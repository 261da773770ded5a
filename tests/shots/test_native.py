"""The cache of compiled kernels: whole libraries of our own are loaded, and nobody else's."""

import logging
import os
import tempfile

import pytest

from eruv_dali import native

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a small library into a cache of our own; returns its answer."""
    (tmp_path / "source.cc").write_text(SOURCE)
    monkeypatch.setenv("ERUV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    native.say_once.cache_clear()
    try:
        command = [native.find_compiler("g++"), "-shared", "-fPIC", str(tmp_path / "source.cc"), "-o", "{out}"]
    except native.NoCompiler as reason:
        pytest.skip(str(reason))

    def path():
        return native.build_library("answer", [command], [tmp_path / "source.cc"])

    assert native.load_library("answer", [command], [tmp_path / "source.cc"]).answer() == 42
    return path


def test_the_cache_is_the_users_own(build, tmp_path):
    library = build()
    assert library.parent == tmp_path / "cache"
    assert [path.stat().st_mode & 0o077 for path in (library.parent, library)] == [0, 0]
    library.parent.chmod(0o777)
    library.unlink()
    build()
    assert library.parent.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("damage", [
    lambda library: os.truncate(library, 3000),  # loading this ends the process
    lambda library: library.write_bytes(b"\x7fELF"),
    lambda library: library.write_bytes(library.read_bytes()[:-48]),  # as an earlier version wrote it
    lambda library: os.chmod(library, 0o777),
    lambda library: os.chown(library, 65534, -1) if os.getuid() == 0 else library.unlink(),
    lambda library: (library.rename(library.with_suffix(".else")), library.symlink_to(library.with_suffix(".else"))),
], ids=["cut short", "no library", "without a checksum", "all may write it", "another's", "a link"])
def test_what_is_not_sound_is_built_again(build, damage):
    library = build()
    sound = library.read_bytes()
    damage(library)
    assert not native._intact(library)
    assert build() == library and library.read_bytes() == sound and native._intact(library)
    assert not library.is_symlink() and library.stat().st_uid == os.getuid()


def test_links_are_not_followed(build, tmp_path):
    library = build()
    (tmp_path / "victim").write_text("precious")
    lock = library.parent / "answer.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "victim")
    library.unlink()
    build()
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("cache", ["/proc/eruv", "file/below"])
def test_without_a_place_to_write_there_is_another(build, tmp_path, monkeypatch, caplog, cache):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ERUV_CACHE", str(tmp_path / cache))
    with caplog.at_level(logging.WARNING):
        library = build()
    assert library.parent == tmp_path / f"eruv_dali-{os.getuid()}"
    assert "set ERUV_CACHE" in caplog.text and len(caplog.records) == 1
    library.parent.rename(tmp_path / "elsewhere")
    library.parent.symlink_to(tmp_path / "elsewhere")  # somebody was there first
    with pytest.raises(native.NoCompiler, match="no folder for compiled kernels .*set ERUV_CACHE"):
        build()
