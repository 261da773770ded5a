"""Write a backbone as ONNX, for programs without PyTorch.

    python -m eruv_dali.export runs/first --out backbone.onnx
    python -m eruv_dali.export runs/first/backbone.pt --out backbone.onnx --clip-length 16 --crop 112

Input "clips" (B, 3, T, H, W) float32, values as in training (0 to 1 by default); outputs "features" (B, D) and "maps"
(B, C, T', H', W'), the last convolution's. B is free, T, H and W are fixed by the arguments. The written file is run by
onnxruntime and compared with PyTorch. Needs the extra `export`: pip install 'eruv_dali[export]'.
"""

import argparse
from pathlib import Path

from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import program
from eruv_dali.yaml_file import read_yaml


def _trained_on(config: Path) -> dict[str, int]:
    """Clip length and crop of a RUN's configuration; without one, the paper's. Not by `load_config`: exporting needs no
    DALI, which that imports."""
    known = {"clip_length": 16, "crop": 112}
    try:
        tree = read_yaml(config) if config.exists() else None
    except EruvError as error:
        raise EruvError(f"{error}, so the clips that the network was trained on are unknown; move it away, and give "
                        "--clip-length and --crop") from None
    data = tree.get("data") if isinstance(tree, dict) else None
    if isinstance(data, dict):
        known |= {key: value for key, value in data.items() if key in known and type(value) is int and value > 0}
    return known


def main() -> None:
    parser = program("export", __doc__)
    parser.add_argument("init", type=Path, metavar="CKPT", help="a RUN of pretrain or finetune, or its backbone.pt; a "
                        "file of VCOP's or PRP's public code")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write: .onnx")
    parser.add_argument("--clip-length", type=int, help="frames (default as in the checkpoint's RUN, else 16)")
    parser.add_argument("--crop", type=int, help="pixels (default as in the checkpoint's RUN, else 112)")
    parser.add_argument("--rescale", action=argparse.BooleanOptionalAction, default=False, help="write convolutions "
                        "as large as a fresh network's, BatchNorm with them, for further training: the same function "
                        "(default --no-rescale)")
    args = parser.parse_args()
    for name, value in (("clip-length", args.clip_length), ("crop", args.crop)):
        if value is not None and value < 1:
            raise EruvError(f"--{name} {value} must be at least 1")
    if not args.out.parent.is_dir():
        raise EruvError(f"{args.out.parent}: no such folder")
    # PyTorch takes seconds, and --help need not wait for it.
    from eruv_dali.models import load_backbone
    from eruv_dali.models.onnx_file import export_onnx
    from eruv_dali.models.rescale import rescale_convolutions

    file = args.init / "backbone.pt" if args.init.is_dir() else args.init
    backbone = load_backbone(file)
    trained_on = _trained_on(file.parent / "config.yaml")
    if args.rescale:
        rescale_convolutions(backbone)
    clip_length, crop = args.clip_length or trained_on["clip_length"], args.crop or trained_on["crop"]
    worst = export_onnx(backbone, args.out, clip_length=clip_length, crop=crop)
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {backbone.name}, clips of {clip_length}x{crop}x{crop}, {size:.1f} MB; onnxruntime and PyTorch "
          f"differ by at most {worst:.1e} of the largest value")


if __name__ == "__main__":
    run_program(main)
