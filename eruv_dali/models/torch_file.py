"""Reading files of `torch.save`, old and new, from anywhere: tensors and plain values only, nothing in them is run."""

import re
import zipfile
from pathlib import Path

import torch

# Since PyTorch 1.6 the files are zip archives; before, they began with this number, pickled.
ZIP = b"PK\x03\x04"
LEGACY = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")


class NotLoadable(Exception):
    """A file whose content cannot be loaded; the message is the reason, one line for the user."""


class NotTorchs(NotLoadable):
    """A file that does not begin as those of `torch.save` do."""


def load_torch_file(path: Path, *, meta: bool = False) -> object:
    """What `torch.save` wrote to `path`, with tensors on the CPU; with `meta`, without their values.

    Raises:
        OSError: the file is missing or cannot be opened.
        NotLoadable: it is not such a file, is damaged, would take far more memory than its size, or holds objects other
            than tensors and plain values, which are never unpickled.
    """
    with path.open("rb") as file:
        begins = file.read(32)
        if begins.startswith(ZIP):
            _check_members(path)
        elif LEGACY not in begins:
            raise NotTorchs("torch.save did not write it")
    try:
        return torch.load(path, map_location="meta" if meta else "cpu", weights_only=True)
    except Exception as error:  # of almost any type, from torch's unpickler reading damaged bytes
        raise NotLoadable(_cause(error)) from None


def _check_members(path: Path) -> None:
    """`torch.save` stores what it writes as it is: compressed or overlapping parts would grow when they are read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception:  # of several types, from damaged bytes
        raise NotLoadable(f"truncated or damaged, {path.stat().st_size} bytes") from None
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise NotLoadable("its parts are compressed, and torch.save compresses none")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise NotLoadable("its parts are larger than the file")


def _cause(error: Exception) -> str:
    """One line on why torch refused to load."""
    foreign = re.search(r"GLOBAL (\S{1,80})", str(error))  # damaged, a name may be as long as the file
    if foreign:
        return f"it holds a {foreign[1]}, and only tensors and plain values are read"
    # torch's own advice is to load the file with weights_only=False, which would run what is in it.
    line = (str(error).splitlines() or [""])[0]
    return type(error).__name__ if not line or "weights_only" in line else line[:200]
