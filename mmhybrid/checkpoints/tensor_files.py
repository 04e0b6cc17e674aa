"""Files of the ``safetensors`` format: tensors and texts, and nothing that could be run."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# The one text that is written beside the tensors: of several, the library does not keep the order.
CARD = 'mmhybrid'
SUFFIX = '.safetensors'
_CARDS_SHA256 = 'card_sha256'  # within the card, of the rest of it
_LENGTH = 8  # bytes of the header's length, before the header


class TensorFileError(ValueError):
    """The end of a sentence that begins with the file, such as 'is damaged: ...'."""


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so may be of this format."""
    return len(start) > _LENGTH and start[_LENGTH : _LENGTH + 1] == b'{'


def parse(data: bytes) -> dict[str, Any]:
    """Tensors, and what was written beside them, in the layout of a training run's checkpoint.

    Returns:
        'state_dict' with the tensors, and 'meta', a dict with the file's texts; its 'card' is the card that
        :func:`serialize` wrote.

    Raises:
        TensorFileError: If the bytes are damaged, or tensors or card are not those of their checksums.
        ImportError: If the library is not installed.
    """
    library = _library()
    try:
        state = dict(sorted(library.load(data).items()))  # in the file the order is the sizes of the types
        length = int.from_bytes(data[:_LENGTH], 'little')
        texts = dict(json.loads(data[_LENGTH : _LENGTH + length]).get('__metadata__') or {})
    except Exception as error:  # the library's own, which tells what, and torch's for a type of number it lacks
        what = str(error).rpartition('deserializing: ')[2] or type(error).__name__
        ending = 'is cut off' if 'not fully covered' in what or 'too small' in what else f'is damaged: {what}'
        raise TensorFileError(ending) from None
    card = _card(texts.pop(CARD, None))
    if card and card.get('tensors_sha256') not in (None, tensors_sha256(state)):
        raise TensorFileError('is damaged: its tensors do not match their checksum')
    return dict(state_dict=state, meta=dict(card=card, **{k: v for k, v in texts.items() if k != 'card'}))


def serialize(state: Mapping[str, Tensor], card: Mapping[str, Any]) -> bytes:
    """The bytes of a file with these tensors and a card; the same ones give the same bytes.

    Raises:
        ImportError: If the library is not installed.
    """
    card = json.loads(json.dumps(card))  # as it will be read: keys become texts
    text = _text({**card, _CARDS_SHA256: hashlib.sha256(_text(card).encode()).hexdigest()})
    return _library().save(dict(state), {CARD: text})


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and numbers, whatever the format and the order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f'{name}\0{value.dtype}\0{tuple(value.shape)}\0'.encode())
        digest.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _text(card: Mapping[str, Any]) -> str:
    return json.dumps(card, sort_keys=True, ensure_ascii=False)


def _card(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        card = dict(json.loads(text))
    except (TypeError, ValueError):
        raise TensorFileError('is damaged: its card cannot be read') from None
    digest = card.pop(_CARDS_SHA256, None)
    if digest not in (None, hashlib.sha256(_text(card).encode()).hexdigest()):
        raise TensorFileError('is damaged: its card does not match its checksum')
    return card


def _library() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError('.safetensors files need the library safetensors: pip install safetensors.') from error
    return safetensors.torch
