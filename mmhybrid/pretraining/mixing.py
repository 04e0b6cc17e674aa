"""Batches mixed of two pictures each: mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899)."""

import torch
from torch import Tensor

from mmhybrid.errors import InputError


class Mixing:
    r"""Mixes each picture of a batch with another of it.

    With a permutation p of the batch and a share :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, mixup gives
    :math:`\lambda x_i + (1 - \lambda) x_{p(i)}`; CutMix replaces a box of the share 1 - lambda of the picture by the
    same box of the other, and lambda becomes the share that is left within the border. The loss is
    :math:`\lambda \ell(y_i) + (1 - \lambda) \ell(y_{p(i)})`.

    All draws come from torch's generator of this process, which a checkpoint has, so a resumed run goes on exactly.

    Args:
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none. With both, each batch is mixed in one of the two ways, half and half.
        prob: Share of the batches that are mixed.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(self, mixup: float = 0.0, cutmix: float = 0.0, prob: float = 1.0):
        if min(mixup, cutmix) < 0 or not 0 <= prob <= 1:
            raise InputError(
                f'mixing has mixup={mixup}, cutmix={cutmix} and prob={prob}: the first two must not be negative and '
                'prob must be from 0 to 1.'
            )
        self.alphas = {'mixup': mixup, 'cutmix': cutmix}
        self.prob = prob

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, float]:
        """Mix a batch.

        Args:
            images: (N, C, H, W).

        Returns:
            The mixed batch, the permutation p (N,), and lambda; 1 if nothing was mixed.
        """
        ways = [way for way, alpha in self.alphas.items() if alpha > 0]
        order = torch.randperm(len(images))
        if not ways or float(torch.rand(())) >= self.prob:
            return images, order.to(images.device), 1.0
        way = ways[int(torch.randint(len(ways), ()))]
        alpha = torch.tensor(float(self.alphas[way]))
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        order = order.to(images.device)
        if way == 'mixup':
            return images * share + images[order] * (1 - share), order, share
        top, bottom, left, right = _box(*images.shape[2:], share)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        return mixed, order, 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])


def _box(height: int, width: int, share: float) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a box of about the share ``1 - share``, cut at the border."""
    side = (1 - share) ** 0.5
    half_h, half_w = int(height * side) // 2, int(width * side) // 2
    y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    return max(y - half_h, 0), min(y + half_h, height), max(x - half_w, 0), min(x + half_w, width)
