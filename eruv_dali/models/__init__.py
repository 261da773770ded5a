"""The networks: three backbones, the file their weights live in, and the relation head on top."""

from eruv_dali.models.backbone_file import BACKBONES, build_backbone, load_backbone, save_backbone
from eruv_dali.models.relation_net import HEADS, RelationNet

__all__ = ["BACKBONES", "HEADS", "RelationNet", "build_backbone", "load_backbone", "save_backbone"]
