"""Find out what is missing or damaged before a long run: the machine, your videos, a labelled dataset.

    python -m eruv_dali.doctor
    python -m eruv_dali.doctor my_videos/
    python -m eruv_dali.doctor --dataset ucf101 --root UCF-101 --splits ucfTrainTestlist
    python -m eruv_dali.doctor --dataset thumos14 --root TH14_validation_set_mp4 --thorough

Each line is ok, a note (it works, but slowly, or something is unusual), or a PROBLEM, with a count and the
first five names. Exit code 0: no problem; 1: a problem; 2: the command line is wrong.
"""

import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from eruv_dali.device import cores
from eruv_dali.doctor.environment import check_environment
from eruv_dali.doctor.finding import GOOD, PROBLEM, REMARK, Finding
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import program

COLOURS = {GOOD: "green", REMARK: "yellow", PROBLEM: "bold red"}


def main() -> None:
    logging.basicConfig(format="%(message)s")
    parser = program("doctor", __doc__)
    parser.add_argument("videos", nargs="*", metavar="VIDEO_OR_DIR", help="video files, or folders of them")
    parser.add_argument("--dataset", choices=("ucf101", "hmdb51", "thumos14", "folder"),
                        help="check a dataset as it unpacks; folder: one folder per class")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where its videos are")
    parser.add_argument("--splits", type=Path, metavar="DIR", help="split files (default in DIR or next to it)")
    parser.add_argument("--thorough", action="store_true", help="decode every frame, not only the first")
    parser.add_argument("--workers", type=int, default=cores(), help="processes (default one per core)")
    args = parser.parse_args()
    if (args.dataset is None) != (args.root is None):
        raise EruvError("--dataset and --root go together")
    if args.splits is not None and args.dataset not in ("ucf101", "hmdb51"):
        raise EruvError("--splits is for --dataset ucf101 and hmdb51")
    if args.workers < 1:
        raise EruvError(f"--workers {args.workers} must be at least 1")

    findings = list(check_environment())
    report = {"machine": findings}
    if args.videos or args.dataset:
        if any(finding.name == "av" and finding.state == PROBLEM for finding in findings):
            raise EruvError("videos cannot be checked: PyAV does not work here; pip install av")
        from eruv_dali.doctor.layouts import check_layout
        from eruv_dali.doctor.videos import check_videos
        from eruv_dali.video.find import find_videos

        if args.videos:
            given = [video.path for video in find_videos(args.videos)]
            report["videos"] = check_videos(given, thorough=args.thorough, workers=args.workers)
        if args.dataset:
            report[args.dataset], found = check_layout(args.dataset, args.root, args.splits)
            if found:
                report[args.dataset] += check_videos(found, thorough=args.thorough, workers=args.workers)
    _print(report)
    if any(finding.state == PROBLEM for part in report.values() for finding in part):
        sys.exit(1)


def _print(report: dict[str, list[Finding]]) -> None:
    console = Console(highlight=False, soft_wrap=True)  # no wrapping, so that paths can be copied
    for title, findings in report.items():
        console.print(f"[bold]{title}[/]")
        for finding in findings:
            colour = COLOURS[finding.state]
            console.print(f"  {finding.name:<9} [{colour}]{finding.state:<8}[/] {escape(finding.text)}")


if __name__ == "__main__":
    run_program(main)
