"""Where in a checkpoint the backbone is: bare, within a classifier or a detector, or under its authors' names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmhybrid.checkpoints import hcgnet

# Averaged weights in timm's files, which have those that were averaged, too.
AVERAGED = 'state_dict_ema'
# Keys under which training scripts keep the weights: MMEngine's, timm's and DETR's, the HCGNet authors', others'.
STATE_KEYS = (AVERAGED, 'state_dict', 'model', 'net', 'checkpoint', 'model_state_dict')
_DEPTH = 2
_BACKBONE = 'backbone.'
# Torchvision's detectors have the network in their `backbone.body.`, and the FPN beside it.
_BODY = 'body.'
# Around the whole model: DistributedDataParallel's, averaged models', and what holds a model as a part of its own.
_WRAPPERS = ('module.', 'model.', '_orig_mod.')
# Of a classifier that keeps the backbone's names without a prefix: torchvision's, timm's, mmpretrain's, HCGNet's.
_HEADS = ('fc', 'head', 'classifier', 'last_linear')


@dataclass(frozen=True)
class Part:
    """The backbone's part of a state dict.

    Attributes:
        state: Its entries under the backbone's own names.
        prefix: What stood before them.
        left_out: The other entries' names.
        renamed: Whose names were translated, or ''.
    """

    state: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]
    renamed: str = ''


def state_of(content: Any, depth: int = _DEPTH) -> Mapping[str, Any] | None:
    """The weights in what a file holds; None if there are none.

    A state dict, or a dict with one under a known key, or with such a dict. Averaged weights come before those that
    were averaged, as MMEngine's files have them, too.
    """
    if not isinstance(content, Mapping):
        return None
    for key in STATE_KEYS if depth else ():
        if (found := state_of(content.get(key), depth - 1)) is not None:
            return found
    return content if any(isinstance(value, Tensor) for value in content.values()) else None


def is_averaged(content: Any) -> bool:
    """Whether a file has averaged weights beside those that were averaged, so that :func:`state_of` gives them."""
    return isinstance(content, Mapping) and any(
        isinstance(content.get(key), Mapping) for key in (AVERAGED, 'ema_state_dict')
    )


def backbone_part(state: Mapping[str, Any]) -> Part:
    """Find the backbone in a state dict by its names alone.

    ``backbone.`` is taken off wherever it follows wrappers only; names without it are a head's then. Without any,
    wrappers that stand before every name are taken off, and the usual names of classifiers are left out.
    """
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    prefix = ''
    while True:
        # A single number is no weight, but a count, as that of the models in torch's AveragedModel.
        inner = [n[len(prefix) :] for n, value in tensors.items() if n.startswith(prefix) and value.dim()]
        if any(name.startswith(_BACKBONE) for name in inner):
            prefix += _BACKBONE
        elif prefix.endswith(_BACKBONE) and any(name.startswith(_BODY) for name in inner):
            prefix += _BODY
        elif wrapper := next((w for w in _WRAPPERS if inner and all(n.startswith(w) for n in inner)), None):
            prefix += wrapper
        else:
            break
    found = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    if not prefix.endswith((_BACKBONE, _BACKBONE + _BODY)):
        found = {name: value for name, value in found.items() if name.partition('.')[0] not in _HEADS}
    left_out = tuple(name for name in tensors if name.removeprefix(prefix) not in found or not name.startswith(prefix))
    renamed = hcgnet.renamed(found)
    return Part(found if renamed is None else renamed, prefix, left_out, '' if renamed is None else "HCGNet's authors'")
