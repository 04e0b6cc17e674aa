"""The card of a backbone's file: what the weights are, and where they come from; what nobody told is null.

It stands beside the file, under its name with the suffix ``.json``, and within a ``.safetensors`` file.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmhybrid.checkpoints import layouts
from mmhybrid.errors import InputError
from mmhybrid.version import __version__

SCHEMA, SCHEMA_VERSION = 'mmhybrid.backbone', 1
# In the order in which they stand in the card. `options` are the arguments of the backbone that differ from the
# variant's own; `left_out` are tensors of the variant that the file does not have; `mean` and `std` of the pictures are
# RGB, from 0 to 255; `sha256` is the file's, without which the card beside it is not taken for its own, and which the
# card within a file cannot know.
KEYS = (
    'variant', 'type', 'options', 'stem', 'left_out', 'data', 'image_size', 'mean', 'std', 'recipe', 'epochs', 'top1',
    'ema', 'commit', 'licence', 'source', 'parameters', 'rounded_to', 'created_by', 'tensors_sha256', 'sha256',
)  # fmt: skip
# What a checkpoint of tools/pretrain.py tells of itself, in its meta, and the accuracies beside it.
PRETRAINING = 'mmhybrid_pretraining'
ACCURACY = 'accuracy.json'


def filled(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card with all keys in order, those of one's own behind them."""
    marks = dict(schema=SCHEMA, schema_version=SCHEMA_VERSION)
    known = {key: card.get(key) for key in KEYS} | dict(created_by=f'mmhybrid {__version__}')
    return marks | known | {key: value for key, value in card.items() if key not in marks and key not in known}


def text(card: Mapping[str, Any]) -> bytes:
    """A card as a file's content."""
    return (json.dumps(card, indent=2, ensure_ascii=False) + '\n').encode()


def path_of(weights: Path) -> Path:
    """Where the card of a file is."""
    return weights.with_suffix('.json')


def beside(weights: Path) -> dict[str, Any] | None:
    """The card beside a file; None if there is none.

    Raises:
        InputError: If the file is not the one of which the card tells.
    """
    path = path_of(weights)
    try:
        card = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(card, dict) or card.get('schema') != SCHEMA or card.get('sha256') is None:
        return None
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if card['sha256'] != digest:
        raise InputError(
            f'{weights} is not the file of which the card {path} beside it tells (its SHA-256 begins with '
            f'{digest[:8]}, not {str(card["sha256"])[:8]}): copy or download both again, or remove the card.'
        )
    return card


def facts(content: Any, path: Path | None = None) -> dict[str, Any] | None:
    """What a file tells of its weights: a card in it or beside it, or what a pre-training noted; None if nothing.

    A card beside it is compared with the file, whatever there is in it.

    Args:
        content: What was read from the file.
        path: Where it is.

    Raises:
        InputError: As :func:`beside`.
    """
    meta = content.get('meta') if isinstance(content, Mapping) else None
    told = beside(path) if path is not None and path.is_file() else None
    for key in (PRETRAINING, 'card'):
        if isinstance(meta, Mapping) and isinstance(meta.get(key), Mapping):
            told = dict(meta[key])
    return {**(told or {}), 'ema': True} if layouts.is_averaged(content) else told
