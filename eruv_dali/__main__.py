"""`eruv COMMAND …`, the same as `python -m eruv_dali.COMMAND …`; without a COMMAND, an overview of the programs.

Nothing heavy is imported before it is known which program is wanted: the overview and --version answer at once.
"""

import importlib
import sys

import eruv_dali
from eruv_dali.errors import EruvError, run_program

# Module of each program, and what it is for, in the order of use.
COMMANDS = {
    "doctor": ("eruv_dali.doctor.__main__", "check the machine, your videos, a labelled data set, before hours go by"),
    "demo": ("eruv_dali.demo.__main__", "write four small drawn videos into a folder, to try the rest on"),
    "prepare": ("eruv_dali.prepare.__main__", "decode raw videos once, find their shots, write a DATASET to train on"),
    "pretrain": ("eruv_dali.pretrain.__main__", "train a network on a DATASET, or on videos, without labels: a RUN"),
    "finetune": ("eruv_dali.finetune.__main__", "recognise actions in labelled videos with the network of a RUN"),
    "retrieve": ("eruv_dali.retrieve", "find the videos most alike a video, by the network of a RUN"),
    "visualize": ("eruv_dali.visualize.__main__", "pages and pictures: shots, neighbours, pairs, training, …"),
    "tables": ("eruv_dali.tables.__main__", "the paper's tables, filled with the results of RUNs"),
    "compare": ("eruv_dali.compare.__main__", "pretrain with several pretexts, and compare the networks they give"),
    "ablations": ("eruv_dali.ablations.__main__", "pretrain with several configurations, and compare them in a table"),
    "export": ("eruv_dali.export", "write a trained backbone as ONNX, for programs without PyTorch"),
}


def overview() -> str:
    lines = [f"  {name:<10} {words}" for name, (_, words) in COMMANDS.items()]
    return "\n".join([
        "usage: eruv COMMAND …        (the same as python -m eruv_dali.COMMAND …)",
        "",
        "Learn from raw videos without labels. The programs, in the order of use:",
        "",
        *lines,
        "",
        "eruv COMMAND --help explains one, with examples; eruv --version names the version. To begin:",
        "",
        "  eruv prepare my_videos/ --out my_dataset",
        "  eruv pretrain --data my_dataset --out runs/first",
    ])


def main() -> None:
    run_program(_main)


def _main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("-h", "--help"):
        print(overview())
    elif word == "--version":
        print(f"eruv_dali {eruv_dali.__version__}")
    elif word in COMMANDS:
        del sys.argv[1]  # what is left is the program's own command line
        importlib.import_module(COMMANDS[word][0]).main()
    else:
        raise EruvError(_unknown(word))


def _unknown(word: str) -> str:
    """One line that names the command nearest to an unknown one."""
    import difflib

    if word.startswith("-"):
        return f"{word}: unknown here; eruv takes --help, --version, or a command with its own options"
    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0)
    return f"unknown command {word!r}; did you mean {near[0]!r}? eruv alone lists all"


if __name__ == "__main__":
    main()
