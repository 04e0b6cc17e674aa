"""Build the detector of config.py and run it once: ``python check.py``."""

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

cfg = Config.fromfile('config.py')
init_default_scope(cfg.default_scope)
detector = MODELS.build(cfg.model).eval()
with torch.no_grad():
    levels = detector.extract_feat(torch.randn(1, 3, 64, 96))
print(type(detector).__name__, type(detector.backbone).__name__, [tuple(level.shape) for level in levels])
