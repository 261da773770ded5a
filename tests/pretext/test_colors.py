"""Matrices of colours against the formulas that they stand for, applied to pictures one after another."""

import colorsys

import numpy as np
import pytest

from eruv_dali import EruvError
from eruv_dali.pretext.colors import color_jitter, jitter_bounds, replicated_channel

RNG = np.random.default_rng(0)
PICTURE = RNG.uniform(0.3, 0.7, (20, 30, 3))  # far from the ends, where torchvision's clipping after each step shows
SAME = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)


def shown(matrix, picture=PICTURE):
    assert type(matrix) is tuple and len(matrix) == 12 and {type(number) for number in matrix} == {float}
    matrix = np.array(matrix).reshape(3, 4)
    return picture @ matrix[:, :3].T + matrix[:, 3]


def luma(picture):
    return (0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2])[..., None]


def blend(picture, other, factor):
    """torchvision's."""
    return factor * picture + (1 - factor) * other


def fixed(**factors):
    """A jitter without chance: both bounds the same."""
    return color_jitter(np.random.default_rng(1), **{name: (factor, factor) for name, factor in factors.items()})


@pytest.mark.parametrize("channel", range(3))
def test_a_channel_in_the_place_of_all(channel):
    np.testing.assert_array_equal(shown(replicated_channel(channel)), PICTURE[..., [channel] * 3])


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_brightness_contrast_and_saturation_are_blends(factor):
    np.testing.assert_allclose(shown(fixed(brightness=factor)), blend(PICTURE, 0, factor), atol=1e-12)
    np.testing.assert_allclose(shown(fixed(contrast=factor)), blend(PICTURE, 0.5, factor), atol=1e-12)
    np.testing.assert_allclose(shown(fixed(saturation=factor)), blend(PICTURE, luma(PICTURE), factor), atol=1e-12)


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.03, 0.5])
def test_hue_turns_colours_about_the_greys(turns):
    changed = shown(fixed(hue=turns))
    np.testing.assert_allclose(luma(changed), luma(PICTURE), atol=1e-12)
    greys = np.linspace(0, 1, 5)[:, None] * np.ones(3)
    np.testing.assert_allclose(shown(fixed(hue=turns), greys), greys, atol=1e-12)
    # In Python's own YIQ: the amount of colour stays, its angle turns, except for rounded constants.
    for before, after in zip(PICTURE[0], changed[0], strict=True):
        before, after = (complex(*colorsys.rgb_to_yiq(*rgb)[1:]) for rgb in (before, after))
        assert abs(after - before * np.exp(-2j * np.pi * turns)) < 0.02 * abs(before) + 1e-4
    np.testing.assert_allclose(shown(fixed(hue=-turns), changed), PICTURE, atol=1e-12)


def test_a_turn_goes_the_way_of_torchvisions():
    """A positive hue takes red towards yellow and green, as hsv's does."""
    red = shown(fixed(hue=1 / 6), np.array([0.8, 0.1, 0.1]))
    hue, _, _ = colorsys.rgb_to_hsv(*np.clip(red, 0, 1))
    assert 0.05 < hue < 0.3


def test_no_jitter_is_no_change():
    np.testing.assert_allclose(color_jitter(np.random.default_rng(0)), SAME, atol=1e-15)


def test_all_changes_follow_one_another_in_either_order():
    """Which of brightness and contrast comes first is drawn; saturation and hue may stand anywhere."""
    factors = {"brightness": 1.4, "contrast": 0.6, "saturation": 0.3, "hue": 0.2}

    def in_a_row(*names):
        picture = PICTURE
        for name in names:
            picture = shown(fixed(**{name: factors[name]}), picture)
        return picture

    first = {name: in_a_row(*order) for name, order in (
        ("brightness", ("hue", "brightness", "saturation", "contrast")),
        ("contrast", ("saturation", "contrast", "hue", "brightness")))}
    random, seen = np.random.default_rng(2), []
    for _ in range(200):
        changed = shown(color_jitter(random, **{name: (factor, factor) for name, factor in factors.items()}))
        (name,) = [name for name, wanted in first.items() if np.allclose(changed, wanted, atol=1e-12)]
        seen.append(name)
    assert 70 < seen.count("contrast") < 130


def test_factors_are_drawn_uniformly_between_their_bounds():
    random = np.random.default_rng(3)
    drawn = np.sort([color_jitter(random, brightness=0.8)[0] for _ in range(2000)])
    np.testing.assert_allclose(drawn, np.linspace(0.2, 1.8, 2000), atol=0.06)
    assert color_jitter(np.random.default_rng(4), 0.4, 0.4, 0.4, 0.1) == color_jitter(
        np.random.default_rng(4), 0.4, 0.4, 0.4, 0.1)
    assert jitter_bounds("contrast", 0.4) == (0.6, 1.4) and jitter_bounds("saturation", 1.5) == (0, 2.5)
    assert jitter_bounds("brightness", [0.5, 3]) == (0.5, 3) and jitter_bounds("hue", 0.1) == (-0.1, 0.1)


@pytest.mark.parametrize(("name", "amount"), [
    ("brightness", -0.1), ("contrast", (1.2, 0.8)), ("saturation", (-0.1, 1)), ("hue", 0.6), ("hue", (-0.6, 0)),
    ("brightness", float("nan")), ("contrast", float("inf")), ("hue", (0.1, 0.2, 0.3)), ("saturation", "much"),
    ("hue", None),
])
def test_what_is_out_of_range_is_refused(name, amount):
    with pytest.raises(EruvError, match=f"^{name} "):
        color_jitter(np.random.default_rng(0), **{name: amount})


def test_only_three_channels():
    with pytest.raises(EruvError, match="channel 3"):
        replicated_channel(3)
