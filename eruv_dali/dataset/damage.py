"""Damaged files: errors from reading them become one line that names the file."""

import csv
import errno
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from eruv_dali.errors import OUT_OF_RESOURCES, EruvError
from eruv_dali.video.place import Location

# What json, csv, zipfile and numpy (without pickle) raise on damaged content, and what the
# code that first uses that content raises. RuntimeError: nested too deep, or a zip member that claims to be encrypted.
# SyntaxError, TokenError, MemoryError: the header of a .npy file, which is Python text and may claim any shape.
MALFORMED = (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError,
             SyntaxError, MemoryError, tokenize.TokenError, csv.Error, struct.error, zlib.error, lzma.LZMAError,
             zipfile.BadZipFile)


NO_DAMAGE = (errno.EACCES, errno.EPERM, *OUT_OF_RESOURCES)  # the file itself may be intact


@contextmanager
def reading(file: Location, failure: type[EruvError] = EruvError) -> Iterator[None]:
    """Context for reading one file: any problem with its content becomes a `failure` that names the file.

    Raises:
        EruvError: permission to open the file is denied, or too many files are open.
        failure: the file is damaged or missing.
    """
    try:
        yield
    except EruvError:  # a ValueError too, but it says already what is wrong
        raise
    except MALFORMED as error:
        if isinstance(error, OSError) and error.errno in NO_DAMAGE:
            raise EruvError(f"{file}: cannot be read ({error.strerror}); fix that, and run again") from None
        words = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
        if isinstance(error, (LookupError, TypeError, AttributeError)):
            words = f"{type(error).__name__} {words}"  # "'frames'" alone is not a clear message
        raise failure(f"{file}: damaged DATASET ({words[:200]}); run prepare on it again") from None
