"""The model within MMEngine's wrappers, which MMEngine has no function for."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """``model``, or what a wrapper such as ``MMDistributedDataParallel`` holds."""
    return model.module if is_model_wrapper(model) else model
