"""Mutated videos, tars, DATASETs, records, checkpoints, backbones, configurations and tables: what do they do to us?

    python benchmarks/fuzz.py --minutes 30 --seed 1 --json benchmarks/results/robustness.json
    python benchmarks/fuzz.py --seed 1 --case videos:4711         one case again, in this process

Every case is a pure function of seed, target and number. Cases run in forked children, some hundreds in each, under a
limit of memory; one that takes over a minute is killed. What came of them is counted:

    delivered   read, and as far as frames show their number, right
    refused     one line says what is wrong
    trace       another exception than that one line           wrong    frames are not those that they are said to be
    crash       the process ended by a signal                  hang     over 60 s            memory   over 2 GB

The last five are findings; the bytes of each are kept in the folder --keep. With --json, counts are added to those of
other runs, and a seed that ran before continues with the number after its last.
"""

import argparse
import contextlib
import json
import mmap
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import av.logging
import numpy as np
from hostile.seeds import draw_seeds
from hostile.targets import SHARES, Wrong
from rich.console import Console
from rich.table import Table

from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser

LONGEST = 60.0  # seconds of a case
MOST_MEMORY = 2 << 30  # bytes, beyond what a child begins with
CASES_A_CHILD = 400
GOOD, FINDINGS = ("delivered", "refused"), ("trace", "wrong", "crash", "hang", "memory")


@dataclass
class Child:
    """A forked process at work on the cases `first`, `first` + 1, … of a target."""

    pid: int
    target: str
    first: int
    count: int
    pipe: int  # it writes a line for each case that is done
    folder: Path
    at: mmap.mmap  # the number of the case that it works on
    text: bytes = b""
    done: int = 0
    since: float = field(default_factory=time.monotonic)  # it ended a case


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together (default %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)),
                        help="processes (default one per core)")
    parser.add_argument("--only", nargs="*", choices=tuple(SHARES), default=tuple(SHARES), metavar="TARGET",
                        help=f"some of {', '.join(SHARES)} (default all)")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="run one case and show what it raises")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for files of findings (default fuzz_SEED)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the counts to those in this file")
    args = parser.parse_args()
    keep = args.keep or Path(f"fuzz_{args.seed}")
    av.logging.set_level(av.logging.PANIC)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        seeds = Path(place) / "seeds"
        in_a_child(lambda: quietly(draw_seeds, seeds))
        targets = {name: make(seeds) for name, (make, _) in SHARES.items() if name in args.only}
        if args.case:
            name, _, number = args.case.partition(":")
            folder = Path(place) / "case"
            folder.mkdir()
            try:
                print(run_case(targets[name], name, args.seed, int(number), folder))
            finally:
                shutil.copytree(folder, keep, dirs_exist_ok=True)
            return
        known = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
        fuzz = known.setdefault("fuzz", {"counts": {}, "next": {}, "findings": [], "seconds": 0})
        began = time.monotonic()
        print(f"seed {args.seed}, {args.workers} workers, {args.minutes} minutes; findings in {keep}", flush=True)
        try:
            run(targets, args, fuzz, Path(place), keep, began)
        finally:
            fuzz["seconds"] = round(fuzz["seconds"] + time.monotonic() - began)
            if args.json:
                known["date"] = time.strftime("%Y-%m-%d")
                write_text(args.json, json.dumps(known, indent=1) + "\n")
            show(fuzz)
    if any(counts.get(finding) for counts in fuzz["counts"].values() for finding in FINDINGS):
        sys.exit(1)


def run(targets: dict, args: argparse.Namespace, fuzz: dict, place: Path, keep: Path, began: float) -> None:
    """Cases of all targets in their shares, until the time is over."""
    numbers = fuzz["next"].setdefault(str(args.seed), {})
    spent, children, ends = Counter[str](), list[Child](), began + 60 * args.minutes
    broken = Counter[str]()  # children of a target that ended too early, at once
    while children or time.monotonic() < ends:
        while len(children) < args.workers and time.monotonic() < ends:
            # Shares are of cases, so cheap targets do not crowd out dear ones.
            name = min(targets, key=lambda target: spent[target] / SHARES[target][1])
            share = max(1, CASES_A_CHILD * SHARES[name][1] // 40)
            children.append(begin(targets[name], name, args.seed, numbers.get(name, 0), share, place))
            spent[name] += share
            numbers[name] = numbers.get(name, 0) + share
        select.select([child.pipe for child in children], [], [], 1.0)
        for child in [*children]:
            lost = follow(child, fuzz, args.seed, keep)
            if lost is None:
                continue
            children.remove(child)
            if lost:  # the cases after the one that it died of
                broken[child.target] += 1
                rest = child.count - child.done
                spent[child.target] -= rest
                if rest and time.monotonic() < ends:
                    children.append(begin(targets[child.target], child.target, args.seed, child.first + child.done,
                                          rest, place))
                    spent[child.target] += rest


def begin(target, name: str, seed: int, first: int, count: int, place: Path) -> Child:
    folder = Path(tempfile.mkdtemp(dir=place))
    at = mmap.mmap(-1, 8)
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)  # so that what a case starts ends with it
            os.close(reads)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            limit_memory()
            for number in range(first, first + count):
                at[:] = number.to_bytes(8, "little")
                came, said = outcome(target, name, seed, number, folder)
                if came not in GOOD:
                    shutil.copytree(folder, folder.with_name(f"{folder.name}.{number}"), dirs_exist_ok=True)
                os.write(writes, json.dumps([number, came, said]).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writes)
    os.set_blocking(reads, False)
    return Child(pid, name, first, count, reads, folder, at)


def limit_memory() -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, now + MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def outcome(target, name: str, seed: int, number: int, folder: Path) -> tuple[str, str]:
    try:
        return run_case(target, name, seed, number, folder), ""
    except Wrong as error:
        return "wrong", str(error)[:500]
    except MemoryError as error:
        return "memory", last_lines(error)
    except BaseException as error:
        return ("memory" if "can't allocate memory" in str(error) else "trace"), last_lines(error)


def last_lines(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:300]} ({Path(place.filename).name}:{place.lineno})"


def run_case(target, name: str, seed: int, number: int, folder: Path) -> str:
    return target(folder, np.random.default_rng([seed, zlib.crc32(name.encode()), number]))


def follow(child: Child, fuzz: dict, seed: int, keep: Path) -> bool | None:
    """Count what the child has done. None: it is at work; otherwise whether it died of a case."""
    for number, came, said in lines_of(child):
        child.done, child.since = number + 1 - child.first, time.monotonic()
        count(child, number, came, said, fuzz, seed, keep)
    hangs = time.monotonic() - child.since > LONGEST
    if hangs:
        os.kill(child.pid, signal.SIGKILL)
    ended, status = os.waitpid(child.pid, 0 if hangs else os.WNOHANG)
    if not ended:
        return None
    for number, came, said in lines_of(child):  # written since
        child.done = number + 1 - child.first
        count(child, number, came, said, fuzz, seed, keep)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    died = child.done < child.count
    if died:
        number = int.from_bytes(child.at[:], "little")
        shutil.copytree(child.folder, child.folder.with_name(f"{child.folder.name}.{number}"), dirs_exist_ok=True)
        child.done = number + 1 - child.first
        count(child, number, "hang" if hangs else "crash", f"ended with {status}", fuzz, seed, keep)
    os.close(child.pipe)
    for left in child.folder.parent.glob(f"{child.folder.name}*"):
        shutil.rmtree(left, ignore_errors=True)
    return died


def lines_of(child: Child) -> Iterator[tuple[int, str, str]]:
    with contextlib.suppress(BlockingIOError):
        while part := os.read(child.pipe, 1 << 16):
            child.text += part
    *lines, child.text = child.text.split(b"\n")
    for line in lines:
        yield tuple(json.loads(line))


def count(child: Child, number: int, came: str, said: str, fuzz: dict, seed: int, keep: Path) -> None:
    counts = fuzz["counts"].setdefault(child.target, {})
    counts[came] = counts.get(came, 0) + 1
    if came in GOOD:
        return
    kept = keep / f"{child.target}_{number}"
    left = child.folder.with_name(f"{child.folder.name}.{number}")
    if left.exists():
        shutil.copytree(left, kept, dirs_exist_ok=True)
    print(f"{came}: --seed {seed} --case {child.target}:{number}   {said}", flush=True)
    fuzz["findings"].append({"case": f"{child.target}:{number}", "seed": seed, "came": came, "said": said})


def in_a_child(work) -> None:
    """What starts threads or processes must not happen in the process that forks."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise EruvError("the files to mutate could not be drawn (see above)")


def quietly(work, *arguments) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    work(*arguments)


def show(fuzz: dict) -> None:
    table = Table(title=f"{sum(sum(counts.values()) for counts in fuzz['counts'].values()):,} cases in "
                        f"{fuzz['seconds'] / 60:.1f} minutes")
    for column in ("target", *GOOD, *FINDINGS):
        table.add_column(column, justify="left" if column == "target" else "right")
    for name, counts in fuzz["counts"].items():
        table.add_row(name, *(f"{counts.get(came, 0):,}" for came in (*GOOD, *FINDINGS)))
    Console().print(table)


if __name__ == "__main__":
    run_program(main)
