"""The held-out part of a training list, on which the best epoch is chosen."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eruv_dali.actions.folder import draw_groups, group_names
from eruv_dali.errors import EruvError

log = logging.getLogger(__name__)

# Clips of one film look alike: if some were held out, they would favour epochs that memorised the others.
FILMS = {
    "ucf101": r"_g(\d+)_c\d+\.",  # v_YoYo_g08_c01.avi
    # April_09_brush_hair_u_nm_np1_ba_goo_0.avi: after the film and the class come what is visible of the body, the
    # camera's motion, the number of persons, the view: they change from clip to clip of a film.
    "hmdb51": r"/(.+)_[a-z]+_(?:cm|nm)_np\d+_",
}


def hold_out(
    train: Sequence[tuple[Path, int]], root: Path, classes: Sequence[str], *, fraction: float, groups: str | None,
    seed: int,
) -> np.ndarray:
    """(V,) bool: which training videos are held out, about `fraction` of each class, whole groups if there are any.

    `groups` is a regular expression as in `read_split`. If it is None, file names as in UCF101 or HMDB51 identify the
    film that a clip was cut from; if films cannot be split so that each class has both parts, single clips are split,
    with a warning.

    Raises:
        EruvError: `fraction` is not in [0, 1), or a class has too few videos or groups for two parts.
    """
    if not 0 <= fraction < 1:
        raise EruvError(f"val_fraction {fraction} must lie between 0 and 1")
    if fraction == 0:
        return np.zeros(len(train), bool)
    paths = [path.relative_to(root).as_posix() for path, _ in train]
    videos = [(path, label) for path, (_, label) in zip(paths, train, strict=True)]
    films = next((film for film in FILMS.values() if all(re.search(film, path) for path in paths)), None)

    def draw(groups: str | None) -> set[str]:
        group_of = group_names(root, paths, groups) if groups else {path: path for path in paths}
        return draw_groups(videos, classes, group_of, fraction, np.random.default_rng([seed, 0xE7A1]))

    try:
        try:
            held = draw(groups or films)
        except EruvError as error:
            if groups or not films:
                raise
            log.warning("single clips are held out, not whole films: %s", error)
            held = draw(None)
    except EruvError as error:
        raise EruvError(f"no part of the training videos can be held out: {error}; or use val_fraction 0 to keep "
                        "the last epoch") from None
    return np.array([path in held for path in paths])
