"""The demo corpus: the same bytes every time, as many frames as planned, cuts where they are said to be."""

from dataclasses import replace

import av
import numpy as np
import pytest

from eruv_dali.demo import corpus as demo
from eruv_dali.demo.corpus import draw_shot, render_corpus
from eruv_dali.demo.films import HEIGHT, WIDTH, plan_film
from eruv_dali.errors import EruvError


def decode(path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The first film as `render_corpus` writes it, its frames decoded, and the calls its `progress` got."""
    calls = []
    folder = tmp_path_factory.mktemp("demo")
    paths = render_corpus(folder, num_videos=1, seed=3, progress=lambda *call: calls.append(call))
    (path,) = paths
    return path, decode(path), calls


def test_the_film_has_the_planned_frames_size_and_rate(corpus):
    path, frames, calls = corpus
    film = plan_film(0, 3)
    assert frames.shape == (film.frames, HEIGHT, WIDTH, 3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 24
        assert container.streams.video[0].frames == film.frames  # the header says so too
    assert calls == [(0, 1), (1, 1)]
    assert [p.name for p in path.parent.iterdir()] == ["demo_00.mp4"]  # nothing left lying aside


def test_cuts_are_the_largest_changes_of_the_film(corpus):
    _, frames, _ = corpus
    cuts = plan_film(0, 3).cuts
    frames = frames[:, ::4, ::4].astype(np.float32)
    change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))  # change[t] lies between frames t and t + 1
    largest = np.sort(np.argsort(change)[-len(cuts) :]) + 1
    assert largest.tolist() == cuts
    assert change[np.array(cuts) - 1].min() > 3 * np.delete(change, np.array(cuts) - 1).max()


def test_decoded_frames_show_what_was_drawn(corpus):
    _, frames, _ = corpus
    film = plan_film(0, 3)
    drawn = draw_shot(film, replace(film.shots[1], frames=40)).astype(np.float32)
    shown = frames[film.cuts[0] :][:40].astype(np.float32)
    assert np.abs(drawn - shown).mean() < 6  # H.264 with halved chroma, out of 255


def test_rendering_again_keeps_whole_films_and_redraws_the_rest(corpus, tmp_path, monkeypatch):
    path, _, _ = corpus
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    drawn = []
    monkeypatch.setattr(demo, "render_film", lambda film, path, mark: drawn.append((path.name, mark[-1])))
    render_corpus(tmp_path, num_videos=1, seed=3)
    assert drawn == []
    render_corpus(tmp_path, num_videos=1, seed=4)  # another corpus: the film is not its own
    assert drawn == [("demo_00.mp4", "4")]
    copy.write_bytes(path.read_bytes()[:1000])
    render_corpus(tmp_path, num_videos=1, seed=3)
    assert drawn[1:] == [("demo_00.mp4", "3")]


def test_the_same_film_has_the_same_bytes(tmp_path):
    film = plan_film(5, 0)
    shots = tuple(replace(shot, frames=12) for shot in film.shots[:2])
    film = replace(film, shots=shots)
    for name in ("a.mp4", "b.mp4"):
        demo.render_film(film, tmp_path / name, "mark")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert len(decode(tmp_path / "a.mp4")) == 24 and film.cuts == [12]


def test_a_failed_film_leaves_nothing(tmp_path, monkeypatch):
    def broken(film, shot):
        raise RuntimeError("no")

    monkeypatch.setattr(demo, "draw_shot", broken)
    with pytest.raises(RuntimeError):
        render_corpus(tmp_path, num_videos=1)
    assert list(tmp_path.iterdir()) == []


def test_plans_are_untrimmed_varied_and_independent_of_the_number_of_films():
    films = [plan_film(index, 0) for index in range(16)]
    assert films[0] == plan_film(0, 0) and films[0] != plan_film(0, 1)
    for film in films:
        assert 4 <= len(film.shots) <= 6
        assert all(80 <= shot.frames <= 220 for shot in film.shots)
        cameras = {}
        for shot in film.shots:
            cameras.setdefault(shot.place, set()).add((shot.zoom, shot.mirrored))
        assert max(len(views) for views in cameras.values()) == 2  # a place seen by two cameras
        assert all(a.place != b.place for a, b in zip(film.shots, film.shots[1:], strict=False))
    hues = np.sort([film.hue for film in films])
    assert np.diff(hues).min() > 0.02  # no two films of one hue


def test_motion_goes_down_and_is_not_its_own_reverse():
    """Falling weather: a frame's bright drops match the next frame better when shifted down than when shifted up."""
    film = plan_film(1, 0)
    frames = draw_shot(film, replace(film.shots[0], frames=30, actors=())).astype(np.float32).mean(axis=3)
    moving = np.abs(frames - np.median(frames, axis=0))
    score = {s: np.mean(moving[1:] * np.roll(moving[:-1], s, axis=1)) for s in range(-8, 9)}
    best = max(score, key=score.get)
    assert best > 0
    assert score[best] > 1.3 * max(score[s] for s in range(-8, -1))


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(EruvError, match=r"num_videos \(0\)"):
        render_corpus(tmp_path, num_videos=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(EruvError, match="cannot write the demo videos to"):
        render_corpus(tmp_path / "file" / "below", num_videos=1)
