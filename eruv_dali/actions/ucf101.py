"""UCF101 as it unpacks: UCF-101/<Class>/v_<Class>_g01_c01.avi, and ucfTrainTestlist/ with the three official splits.

    classInd.txt      1 ApplyEyeMakeup                                            CRLF; labels count from 1
    trainlist01.txt   ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1               path and label
    testlist01.txt    ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi                 path alone

Source: Soomro, Zamir, Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", 2012.
"""

from pathlib import Path

from eruv_dali.actions.lists import Listed, find_splits, read_lines
from eruv_dali.errors import EruvError

FOLDER = "UCF-101"
SPLITS = (1, 2, 3)


def list_ucf101(root: Path, splits: str | Path | None, split: int) -> Listed:
    """Official split `split` (1, 2 or 3).

    Raises:
        EruvError: a split file is missing or has a line with invalid syntax, or a label does not match its folder.
    """
    folder = find_splits(root, splits, "ucfTrainTestlist", "classInd.txt")
    label_of: dict[str, int] = {}
    for number, line in read_lines(folder / "classInd.txt"):
        label, _, name = line.partition(" ")
        if not label.isdigit() or not name.strip() or int(label) != len(label_of) + 1:
            raise EruvError(f"{folder / 'classInd.txt'}, line {number}: {line!r} is not '{len(label_of) + 1} CLASS'")
        label_of[name.strip()] = int(label) - 1
    if not label_of:
        raise EruvError(f"{folder / 'classInd.txt'}: lists no class")
    return Listed(tuple(label_of), _read_list(folder / f"trainlist{split:02d}.txt", label_of),
                  _read_list(folder / f"testlist{split:02d}.txt", label_of))


def _read_list(file: Path, label_of: dict[str, int]) -> list[tuple[str, int]]:
    videos = []
    for number, line in read_lines(file):
        path, _, label = line.rpartition(" ")
        if not label.isdigit():  # a test list: no label
            path, label = line, ""
        path, name = path.strip(), path.partition("/")[0]
        if name not in label_of:
            raise EruvError(f"{file}, line {number}: {line!r} is of class {name!r}, which classInd.txt does not name")
        if label and int(label) != label_of[name] + 1:
            raise EruvError(f"{file}, line {number}: label {label} is not that of {name} ({label_of[name] + 1} in "
                            "classInd.txt)")
        videos.append((path, label_of[name]))
    return videos
