"""Errors for the user's mistakes and bad files: one clear line and exit code 2."""

import sys
from collections.abc import Callable


class EruvError(ValueError):
    """Bad input. The message is one line: it names the file or key and the offending value, and says what to do."""


def run_program(main: Callable[[], None]) -> None:
    """Run a command-line program: an `EruvError` prints its one line and exits 2, Ctrl-C exits 130."""
    try:
        main()
    except EruvError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
