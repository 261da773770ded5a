"""Reading files of weights: a backbone's own, or a state dict of other programs."""

from pathlib import Path

from eruv_dali.errors import EruvError
from eruv_dali.models.torch_file import NotLoadable, NotTorchs, load_torch_file

WANTED = ("give the backbone.pt that pretraining writes in its run folder, or a state dict of VCOP's or PRP's public "
          "code")


def read_weights(path: Path) -> object:
    """What `torch.save` wrote to `path`, in its present or its legacy format, with tensors on the CPU.

    Raises:
        EruvError: the file is missing, cannot be read, is damaged, was not written by `torch.save`, or holds objects
            other than tensors and plain values (a whole module, for one), which are never unpickled.
    """
    if not path.is_file():
        raise EruvError(f"{path} does not exist or is not a file: {WANTED}")
    try:
        return load_torch_file(path)
    except OSError as error:
        raise EruvError(f"{path} cannot be read: {error.strerror}") from error
    except NotTorchs as error:
        raise EruvError(f"{path} is not a backbone file: {WANTED}") from error
    except NotLoadable as error:
        raise EruvError(f"{path} is damaged or not a backbone file ({error}): {WANTED}") from error
