"""Backbones, each registered in MMDetection's ``MODELS`` under its class name."""

from mmhybrid import _stack

_stack.require()

from .tied_resnet import TiedResNet  # noqa: E402

__all__ = ['TiedResNet']
