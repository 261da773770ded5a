"""HMDB51 as it unpacks: <class>/<name>.avi, and testTrainMulti_7030_splits/ with the three official splits.

    brush_hair_test_split1.txt      April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1       1 train, 2 test, 0 neither

Names contain any character: '#122_...', 'Smart_(...', ';', '[', '&'. The archive contains one archive per class, to be
unpacked in turn.

Source: Kuehne, Jhuang, Garrote, Poggio, Serre, "HMDB: A Large Video Database for Human Motion Recognition", ICCV 2011.
"""

from pathlib import Path

from eruv_dali.actions.lists import Listed, find_splits, read_lines
from eruv_dali.errors import EruvError

FOLDER = "hmdb51_org"
SPLITS = (1, 2, 3)
TRAIN, TEST, NEITHER = "1", "2", "0"


def list_hmdb51(root: Path, splits: str | Path | None, split: int) -> Listed:
    """Official split `split` (1, 2 or 3). Classes are those with a split file, sorted by name.

    Raises:
        EruvError: no split file, or a line with invalid syntax.
    """
    folder = find_splits(root, splits, "testTrainMulti_7030_splits", "*_test_split[0-9].txt")
    ending = f"_test_split{split}.txt"
    files = sorted(folder.glob(f"*{ending}"))
    if not files:
        raise EruvError(f"{folder}: no files *{ending} for split {split} here")
    classes = tuple(file.name.removesuffix(ending) for file in files)
    videos: dict[str, list[tuple[str, int]]] = {TRAIN: [], TEST: [], NEITHER: []}
    for label, (name, file) in enumerate(zip(classes, files, strict=True)):
        for number, line in read_lines(file):
            video, _, side = line.rpartition(" ")
            if not video.strip() or side not in videos:
                raise EruvError(f"{file}, line {number}: {line!r} is not 'NAME.avi 1|2|0'")
            videos[side].append((f"{name}/{video.strip()}", label))
    return Listed(classes, videos[TRAIN], videos[TEST])
