"""Faults by chance (tests/faults), counted into the report that benchmarks/fuzz.py began.

    python benchmarks/faults.py --rounds 8 --seed 100 --json benchmarks/results/robustness.json

A round draws one fault of each kind: programs killed at random moments, files changed under a live loader, a full
disk, few open files, clocks stepped back. A fault counts as survived if the test's conditions hold: nothing lost, no
wrong frame, no traceback. Counts are added to those of other seeds; a seed run again replaces its former counts.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="each draws one fault of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the counts to those in this file")
    args = parser.parse_args()
    if args.rounds < 1:
        raise EruvError(f"--rounds {args.rounds} must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = {**os.environ, "ERUV_FAULTS": str(args.rounds), "ERUV_FAULTS_SEED": str(args.seed)}
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "faults", "tests/faults", f"--junitxml={report}"],
                       cwd=ROOT, env=environment, check=False)
        if not report.exists():
            raise EruvError("pytest wrote no report (see above)")
        counts = counted(report)
    if args.json:
        known = json.loads(args.json.read_text()) if args.json.exists() else {}
        known.setdefault("faults", {})[str(args.seed)] = {"rounds": args.rounds, "tests": counts}
        known["date"] = time.strftime("%Y-%m-%d")
        write_text(args.json, json.dumps(known, indent=1) + "\n")
    total = sum((Counter(of_test) for of_test in counts.values()), Counter())
    print(f"{total['survived']} of {total['survived'] + total['failed']} faults survived")
    if total["failed"]:
        sys.exit(1)


def counted(report: Path) -> dict[str, dict[str, int]]:
    """Faults survived and failed of each test that draws one; tests of another kind and skipped ones do not count."""
    counts: dict[str, dict[str, int]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name, _, words = case.get("name", "").partition("[")
        if case.find("skipped") is not None or not re.match(r"\d+[-\]]", words):
            continue
        failed = case.find("failure") is not None or case.find("error") is not None
        of_test = counts.setdefault(name, {"survived": 0, "failed": 0})
        of_test["failed" if failed else "survived"] += 1
    return counts


if __name__ == "__main__":
    run_program(main)
