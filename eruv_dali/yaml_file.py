"""Reading YAML files that may hold anything."""

from pathlib import Path
from typing import Any

import yaml

from eruv_dali.errors import EruvError

# What PyYAML raises; on `!!timestamp x`, `!!bool x` and very deep documents, for some, it is not an error of its own.
NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: a mapping, usually; None of an empty one.

    Raises:
        EruvError: it cannot be read, or is not valid YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EruvError(f"{path}: cannot be read ({error.strerror})") from None
    except NO_YAML as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise EruvError(f"{path}: not valid YAML ({words})") from None
