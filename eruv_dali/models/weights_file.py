"""Reading files of `torch.save`, old and new, from anywhere: tensors and plain values only, nothing in them is run."""

import re
import zipfile
from pathlib import Path

import torch

from eruv_dali.errors import EruvError

WANTED = ("give the backbone.pt that pretraining writes in its run folder, or a state dict of VCOP's or PRP's public "
          "code")

# Since PyTorch 1.6 the files are zip archives; before, they began with this number, pickled.
ZIP = b"PK\x03\x04"
LEGACY = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")


def read_weights(path: Path) -> object:
    """What `torch.save` wrote to `path`, in its present or its legacy format, with tensors on the CPU.

    Raises:
        EruvError: the file is missing, cannot be read, is damaged, was not written by `torch.save`, or holds objects
            other than tensors and plain values (a whole module, for one), which are never unpickled.
    """
    if not path.is_file():
        raise EruvError(f"{path} does not exist or is not a file: {WANTED}")
    try:
        with path.open("rb") as file:
            begins = file.read(32)
    except OSError as error:
        raise EruvError(f"{path} cannot be read: {error.strerror}") from error
    if begins.startswith(ZIP):
        if not zipfile.is_zipfile(path):
            raise EruvError(f"{path} is truncated or damaged ({path.stat().st_size} bytes): copy or write it again")
    elif LEGACY not in begins:
        raise EruvError(f"{path} is not a backbone file: {WANTED}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of almost any type, from torch's unpickler reading damaged bytes
        raise EruvError(f"{path} is damaged or not a backbone file ({_cause(error)}): {WANTED}") from error


def _cause(error: Exception) -> str:
    """One line on why torch refused to load."""
    foreign = re.search(r"GLOBAL (\S+)", str(error))
    if foreign:
        return f"it holds a {foreign[1]}, and only tensors and plain values are read"
    return (str(error).splitlines() or [type(error).__name__])[0]
