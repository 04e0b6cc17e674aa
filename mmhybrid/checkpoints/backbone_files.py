"""A backbone's file: weights under the backbone's own names, a hash in the file's name, and a card of facts."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmhybrid.checkpoints import cards, layouts, loading, tensor_files
from mmhybrid.checkpoints.files import write_durably
from mmhybrid.checkpoints.loading import Loading
from mmhybrid.checkpoints.reading import read
from mmhybrid.checkpoints.structure import no_array
from mmhybrid.errors import InputError
from mmhybrid.paths import expanded

SUFFIXES = (tensor_files.SUFFIX, '.pth')
DIGITS = 8  # of the SHA-256 in a file's name, as OpenMMLab has them


@dataclass(frozen=True)
class BackboneFile:
    """The backbone's part of a file.

    Attributes:
        state: Tensors under the backbone's own names, e.g. 'layer1.0.conv1.weight'.
        prefix: What stood before these names, e.g. 'backbone.' or ''.
        card: What the file tells of itself: its card within or beside it, or what a pre-training noted; or None.
        left_out: Names of what is not the backbone's, as of a head.
    """

    state: dict[str, Tensor]
    prefix: str = ''
    card: dict[str, Any] | None = None
    left_out: tuple[str, ...] = ()


def read_backbone(path: str | Path) -> BackboneFile:
    """Read a backbone from a .pth or .safetensors file in any of the known layouts.

    These are a backbone's own names, a classifier's or a detector's (``backbone.`` before them), with ``module.`` or
    ``model.`` around it, bare or under ``state_dict``, and the HCGNet authors'.

    Args:
        path: A file, or a URL as MMEngine takes them.

    Raises:
        InputError: If the file is missing, damaged, holds no weights, or is not its card's.
    """
    state, card = _weights(path)
    part = layouts.backbone_part(state)
    if not part.state:
        raise InputError(f'The checkpoint {path} holds no weights of a backbone; give one that does.')
    return BackboneFile(part.state, part.prefix, card, part.left_out)


def _weights(path: str | Path) -> tuple[Mapping[str, Any], dict[str, Any] | None]:
    if '://' in str(path):
        content = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
        return layouts.state_of(content) or {}, cards.facts(content)
    content = read(path)
    return layouts.state_of(content) or {}, cards.facts(content, expanded(path))


def write_backbone(state: Mapping[str, Tensor], target: Path, card: Mapping[str, Any], force: bool = False) -> Path:
    """Write NAME-HASH8.safetensors (or .pth, by the target's suffix) and its card NAME-HASH8.json beside it.

    HASH8 begins the file's SHA-256, so that whoever downloads it can compare. The same weights with the same card give
    the same bytes.

    Args:
        state: Tensors under the backbone's own names.
        target: FOLDER/NAME.safetensors or FOLDER/NAME.pth; the hash is added to NAME.
        card: Facts, see :data:`mmhybrid.checkpoints.cards.KEYS`; what is unknown is None.
        force: Whether another card may be overwritten.

    Returns:
        Where the weights are.

    Raises:
        InputError: If the target's suffix is another one, a file of that name with other content is there, or a tensor
            is sparse or quantised.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise InputError(f'{target}: a backbone is written as {" or ".join(SUFFIXES)}; choose one of these endings.')
    for name, value in state.items():
        if reason := no_array(value):
            raise InputError(f'{target}: {name} {reason}, which is not written; give plain tensors.')
    # Copies of their own: tensors may share memory, be a part of a larger one, or lie in another order.
    plain = {n: state[n].detach().cpu().clone(memory_format=torch.contiguous_format) for n in sorted(state)}
    within = cards.filled(card) | dict(tensors_sha256=tensor_files.tensors_sha256(plain))
    if target.suffix == tensor_files.SUFFIX:
        data = tensor_files.serialize(plain, {key: value for key, value in within.items() if key != 'sha256'})
    else:
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    path = target.with_name(f'{target.stem}-{digest[:DIGITS]}{target.suffix}')
    outputs = {path: data, cards.path_of(path): cards.text(within | dict(sha256=digest))}
    for place, content in outputs.items():
        if not force and place.exists() and (not place.is_file() or place.read_bytes() != content):
            raise InputError(f'{place}: is there, with another content; choose another place, or --force.')
    for place, content in outputs.items():
        write_durably(content, place)
    return path


def check_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Compare a file with a backbone, which may be on the meta device, and load nothing.

    Raises:
        InputError: As :func:`load_backbone`.
    """
    state, card = _weights(path)
    loading.fitted(backbone, loading.with_origin(state, str(path), card))


def load_backbone(backbone: nn.Module, path: str | Path) -> Loading:
    """Load a file into a backbone, and say in one sentence what was loaded.

    Args:
        backbone: One of this package, or another ``nn.Module``.
        path: As of :func:`read_backbone`.

    Raises:
        InputError: If the file cannot be read, or is another backbone's, with the first tensor that differs.
    """
    state, card = _weights(path)
    loading.load_state_dict(backbone, loading.with_origin(state, str(path), card))
    made = [made for part, made in loading.loadings(backbone) if not part][-1]
    if not made.loaded:
        raise InputError(f'The checkpoint {path} has no weights of this {made.module}; {made.hint or "give its own"}.')
    return made
