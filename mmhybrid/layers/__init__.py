"""Building blocks in plain PyTorch: each is usable alone and knows nothing of MMDetection."""

from .tied import TiedBlockConv2d, TiedBlocks, TiedLinear, largest_divisor

__all__ = ['TiedBlockConv2d', 'TiedBlocks', 'TiedLinear', 'largest_divisor']
