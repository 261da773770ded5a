"""Checkpoints: everything a run needs to resume exactly where it stopped.

    RUN/last.pt      the newest
    RUN/last-1.pt    the one before it, and so on: `checkpoint.keep` in all
    RUN/best.pt      from the epoch with the best validation accuracy
"""

import io
import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.models.torch_file import NotLoadable, load_torch_file

log = logging.getLogger(__name__)

FORMAT = 3


def save_checkpoint(path: Path, parts: dict[str, Any], *, keep: int = 1) -> None:
    """Write `parts` (state dicts and plain values) to a temporary file, then rename it to `path`; `keep` - 1 older
    checkpoints are kept next to it.

    Raises:
        EruvError: it cannot be written (for example, the disk is full). Existing checkpoints are intact.
    """
    # Through memory: torch's own writer aborts the process, or hides the cause, when a disk is full.
    content = io.BytesIO()
    torch.save({"format": FORMAT, **parts}, content)

    def fill(file) -> None:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
        for age in range(keep - 1, 0, -1):
            if _numbered(path, age - 1).exists():
                _stand_back(_numbered(path, age - 1), _numbered(path, age))

    try:
        write_aside(path, fill)
    except OSError as error:
        then = ("the previous checkpoint is intact: free some space, then continue with resume=True (--resume)"
                if checkpoints(path) else "nothing was saved yet: free some space, or choose another folder")
        raise EruvError(f"{path}: cannot be written ({error.strerror}); {then}") from None
    for extra in path.parent.glob(f"{path.stem}-*{path.suffix}"):  # left by a run that kept more
        number = extra.stem.removeprefix(f"{path.stem}-")
        if number.isdigit() and int(number) >= keep:
            extra.unlink()


def load_newest(path: Path) -> tuple[dict[str, Any], Path]:
    """The newest intact checkpoint of `path`, `path`-1, …, and its path. Damaged ones are reported.

    Raises:
        EruvError: there is none, or none is intact.
    """
    found = checkpoints(path)
    if not found:
        raise EruvError(f"{path}: no checkpoint to resume from; start a run without resume")
    for candidate, older in zip(found, [*found[1:], None], strict=True):
        try:
            state = load_checkpoint(candidate)
            break
        except EruvError as error:
            if older is None:
                raise
            log.warning("%s; using the one before it, %s", error, older.name)
    return state, candidate


def checkpoints(path: Path) -> list[Path]:
    """`path` and the older checkpoints next to it, newest first."""
    older = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"),
                   key=lambda name: (len(name.stem), name.stem))
    return [name for name in (path, *older) if name.exists()]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        EruvError: there is no such file, it is damaged, or it is not a checkpoint of this version.
    """
    try:
        state = load_torch_file(path)
        rotten = _rotten(path)
    except FileNotFoundError:
        raise EruvError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise EruvError(f"{path}: checkpoint cannot be read ({error.strerror})") from None
    except NotLoadable as error:
        raise EruvError(f"{path}: damaged checkpoint ({error})") from None
    if rotten:
        raise EruvError(f"{path}: damaged checkpoint (checksum of {rotten})")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise EruvError(f"{path}: not a checkpoint of this version (format {FORMAT}); start a new run")
    return state


@contextmanager
def parts_of(path: Path) -> Iterator[None]:
    """Context for using what `load_checkpoint` read from `path`.

    Raises:
        EruvError: it is not what `save_checkpoint` was given there, though its checksums are right.
    """
    try:
        yield
    except EruvError:  # a ValueError too, but it says already what is wrong
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        words = " ".join(str(error).split())
        raise EruvError(f"{path}: its parts are not those of this run's checkpoints ({type(error).__name__}: "
                        f"{words[:200]}); move it away") from error


def _rotten(path: Path) -> str | None:
    """The first part of the file whose checksum is wrong: torch reads flipped bits without an error."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except OSError:
        raise
    except Exception:  # of several types; torch could read the file, so it is damaged elsewhere
        return "its directory"


def _stand_back(newer: Path, older: Path) -> None:
    """Make `newer` available as `older` too; it keeps its own name until it is replaced."""
    link = older.with_name(f".{older.name}.{os.getpid()}.aside")
    link.unlink(missing_ok=True)
    try:
        os.link(newer, link)
    except OSError:  # a file system without hard links: for a moment `newer` is missing, which load_newest allows
        os.replace(newer, older)
    else:
        os.replace(link, older)


def _numbered(path: Path, age: int) -> Path:
    return path.with_name(f"{path.stem}-{age}{path.suffix}") if age else path
