"""The networks: four backbones, the file format for their weights, the heads, and the networks that combine both."""

from eruv_dali.models.backbone import Backbone
from eruv_dali.models.backbone_file import BACKBONES, build_backbone, load_backbone, save_backbone
from eruv_dali.models.heads import HEADS, HeadOptions
from eruv_dali.models.pretext_net import PretextNet, RelationNet
from eruv_dali.models.vcop_file import load_vcop

__all__ = ["BACKBONES", "HEADS", "Backbone", "HeadOptions", "PretextNet", "RelationNet", "build_backbone",
           "load_backbone", "load_vcop", "save_backbone"]
