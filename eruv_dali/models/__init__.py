"""The networks: three backbones, the file their weights live in, the heads, and both put together."""

from eruv_dali.models.backbone import Backbone
from eruv_dali.models.backbone_file import BACKBONES, build_backbone, load_backbone, save_backbone
from eruv_dali.models.heads import HEADS, HeadOptions
from eruv_dali.models.pretext_net import PretextNet, RelationNet

__all__ = ["BACKBONES", "HEADS", "Backbone", "HeadOptions", "PretextNet", "RelationNet", "build_backbone",
           "load_backbone", "save_backbone"]
