"""Global pooling by weights of the pixels, as global context blocks and HCGNet's gates do it, and norms after it.

Call ``pooling.weighted_sum`` by its module: in a symbolic trace ``torch.fx`` replaces the name there.
"""

import torch
import torch.distributed as dist
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.fx.wrap  # one operation of a symbolic trace, since the order of computation depends on the memory format
def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    r"""Sum of a map over its pixels p, weighted: :math:`z_c = \sum_p w_p\, x_{c,p}`.

    A matrix product: the weighted map, as large as x, is never stored.

    Args:
        x: (N, C, H, W).
        weights: (N, 1, HW).

    Returns:
        (N, C, 1).
    """
    pixels = x.flatten(2)
    if x.is_contiguous():
        return torch.bmm(pixels, weights.transpose(1, 2))
    # The rows of a channels_last map are its pixels. Taken so, the product is ten times and more as quick on a CPU, and
    # the gradient of x comes in the format of x.
    return torch.bmm(weights, pixels.transpose(1, 2)).transpose(1, 2)


def normalise_pooled(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalise what a global pooling left, also if the norm is a batch normalisation and the batch is one image.

    After a global pooling there is one value per channel and image. Of one image, batch statistics would be those of
    one value: its variance is zero, and PyTorch raises "Expected more than 1 value per channel". Batch normalisation in
    training then uses its running statistics, as in evaluation, and leaves them as they are. With several processes
    (DDP) each one decides by its own batch. Only ``nn.SyncBatchNorm`` over several processes is never bypassed: it
    normalises over the images of all of them, and a process that left it out would keep the others waiting.

    Args:
        norm: Normalisation layer of C channels. One without running statistics is left to raise.
        x: Pooled map (N, C, 1, 1); so is the output.
    """
    # `training` stands first: in evaluation nobody may look at the number of images, or an export would fix it.
    one_value = norm.training and isinstance(norm, _BatchNorm) and x.shape[0] == 1
    if one_value and norm.running_mean is not None and not _is_synchronised(norm):
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return norm(x)


def _is_synchronised(norm: nn.Module) -> bool:
    several = isinstance(norm, nn.SyncBatchNorm) and dist.is_available() and dist.is_initialized()
    return several and dist.get_world_size(norm.process_group) > 1
