"""Backbones as ONNX files, for programs without PyTorch."""

import logging
import warnings
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.backbone_file import check_clip

TOLERANCE = 1e-3  # of the largest feature: a different order of additions may change this much


class FeaturesAndMaps(nn.Module):
    """A backbone that returns its features and its feature maps."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.backbone.feature_maps(clips)
        return self.backbone.features(maps), maps


def export_onnx(backbone: Backbone, path: Path, *, clip_length: int = 16, crop: int = 112) -> float:
    """Write `backbone`, in evaluation mode, to `path`, and compare onnxruntime's output with PyTorch's.

    Args:
        backbone: from `build_backbone` or `load_backbone`, on the CPU.
        path: the file to write.
        clip_length, crop: T, and H = W, of its input clips.

    Returns:
        The largest difference between the two, relative to the largest feature.

    Raises:
        EruvError: clips that are too small for it, onnx or onnxruntime is not installed, or the outputs do not agree;
            then nothing is written.
    """
    check_clip(backbone.name, clip_length, crop, crop)
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  used by torch.onnx
    except ImportError as error:
        raise EruvError(f"{error.name} is not installed; pip install 'eruv_dali[export]'") from None
    net = FeaturesAndMaps(backbone).eval()
    clips = torch.rand(2, 3, clip_length, crop, crop, generator=torch.Generator().manual_seed(0))
    content = BytesIO()
    batch = torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision, not needed here, is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # from torch's own code
        program = torch.onnx.export(net, (clips,), input_names=["clips"], output_names=["features", "maps"],
                                    dynamic_shapes={"clips": {0: batch}}, dynamo=True, verbose=False)
    assert program is not None  # as always with `dynamo`
    program.save(content)  # type: ignore[arg-type]  # it writes into open files too, which its annotation leaves out
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    worst = 0.0
    for some in (clips, clips[:1]):  # the number of clips is free
        with torch.no_grad():
            wanted = net(some)
        for ours, theirs in zip(wanted, session.run(None, {"clips": some.numpy()}), strict=True):
            difference = (ours - torch.from_numpy(theirs)).abs().max() / ours.abs().max()
            worst = max(worst, float(difference))
    if not worst <= TOLERANCE:
        raise EruvError(f"{path}: onnxruntime and PyTorch differ by {worst:.2g} of the largest value (more than "
                        f"{TOLERANCE}); nothing was written")
    write_aside(path, lambda file: file.write(content.getbuffer()))
    return worst
