"""Errors for the user's mistakes and bad files: one clear line and exit code 2."""

import contextlib
import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

# The machine lacks something, and files may be sound.
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
OUT_OF_RESOURCES = (*OUT_OF_FILES, errno.ENOMEM)


class EruvError(ValueError):
    """Bad input. The message is one line: it names the file or key and the offending value, and says what to do."""


def run_program(main: Callable[[], None]) -> None:
    """Run a command-line program: an `EruvError` prints its one line and exits 2, as do a file that the system
    refuses to read or write, a lack of memory or open files, and a package that is not installed; Ctrl-C exits 130. If
    the program that reads standard output ends first, as `head` does, exits 141 without a word."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error: signs that its encoding lacks are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    with _interrupts() as came:
        try:
            _run(main)
        except (Exception, KeyboardInterrupt) as error:
            if not came and not isinstance(error, KeyboardInterrupt):
                raise
            print("interrupted", file=sys.stderr)
            sys.exit(130)


def _run(main: Callable[[], None]) -> None:
    """The same, but for Ctrl-C."""
    try:
        main()
        if sys.stdout is not None:  # it is None where it was closed
            sys.stdout.flush()
    except EruvError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if not (line := _not_installed(error)):
            raise
        print(line, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None and error.errno == errno.EPIPE and _nobody_reads_standard_output():
            sys.exit(128 + signal.SIGPIPE)
        file = f"{one_line(error.filename)}: " if error.filename is not None else ""
        if error.errno in OUT_OF_RESOURCES:
            print(f"error: {file}{error.strerror}; close other programs, or raise the limit (ulimit -a), and run again",
                  file=sys.stderr)
        elif not file and error.errno == errno.ENOSPC:  # of a file, `write_aside` adds the name
            _forget_standard_output()
            print(f"error: standard output, or a temporary file: {error.strerror}; make room, and run again",
                  file=sys.stderr)
        elif not file or isinstance(error, BrokenPipeError):
            raise
        else:
            print(f"error: {file}cannot be read or written ({error.strerror}); fix that, and run again",
                  file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The SIGINTs that have come meanwhile. Each also raises KeyboardInterrupt, as it would without this; but a library
    may turn that into an error of its own, as PyTorch does while it exports."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or (
            threading.current_thread() is not threading.main_thread()):
        yield came  # ignored, as with nohup, or another's business
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _nobody_reads_standard_output() -> bool:
    """Whether standard output is a pipe whose reader has ended. If so, what is left for it is thrown away."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError):  # None if it was closed; replaced by something that is no file
        return False
    ended = any(event & select.POLLERR for _, event in poll.poll(0))
    if ended:
        _forget_standard_output()
    return ended


def _forget_standard_output() -> None:
    """Throw away what standard output still holds: Python would try to write it at exit."""
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _not_installed(error: ModuleNotFoundError) -> str:
    """The line that says which package is missing; empty if it is a module of this one, which is a fault of ours."""
    name = (error.name or "eruv_dali").partition(".")[0]
    return "" if name == "eruv_dali" else (f"error: {name}: is not installed, and this program needs it; pip install "
                                           "eruv_dali with all that it requires")


def one_line_while_importing() -> None:
    """From now on, a package that is not installed, and Ctrl-C, are one line in place of a traceback where nothing
    catches them; after Ctrl-C the process ends by SIGINT, as before, which a shell reports as 130."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        elif isinstance(error, ModuleNotFoundError) and (line := _not_installed(error)):
            print(line, file=sys.stderr)
            sys.exit(2)
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def one_line(text: object) -> str:
    r"""Text for a terminal: what is not printable, such as a line break in a file's name, as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
