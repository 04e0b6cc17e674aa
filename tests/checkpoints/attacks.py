"""Checkpoints that try to run code: each would make a file, the marker, whose absence a test looks at."""

import os
from collections import OrderedDict
from pathlib import Path

import torch
from mmengine.logging import HistoryBuffer


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.call


def through_getattr(text):
    """A pickle that evaluates a text with nothing but ``getattr`` and what PyTorch always allows.

    A method's attribute ``__builtins__`` is a dict; PyTorch's ``_rebuild_from_type_v2`` calls any function it is given.
    """
    rebuild = torch._tensor._rebuild_from_type_v2
    names = Call(getattr, Call(getattr, HistoryBuffer, 'min'), '__builtins__')
    item = Call(getattr, names, '__getitem__')
    evaluate = Call(rebuild, item, Call(getattr, item, '__class__'), ('eval',), {})
    return Call(rebuild, evaluate, None, (text,), {})


def text(marker):
    return f'open({str(marker)!r}, "w").close()'


PICKLES = {
    'open': lambda marker: Call(open, str(marker), 'w'),
    'os.system': lambda marker: Call(os.system, f'touch {marker}'),
    'getattr': lambda marker: through_getattr(text(marker)),
    # What would be called in place of the method by which the texts below are taken out.
    'attribute': lambda marker: 0,
}
# Texts that MMEngine runs as a config, by where it looks for them.
TEXTS = ('meta.config', 'meta.cfg', 'message_hub.cfg')


def write(attack, path, marker, state_dict=None, **options):
    """Write the checkpoint of an attack, otherwise one that a run can be resumed from."""
    meta = OrderedDict(epoch=1, iter=4)
    hub = {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}
    checkpoint = {'meta': meta, 'state_dict': state_dict or {}, 'message_hub': hub}
    if attack == 'attribute':
        meta['config'] = f'x = {text(marker)}'
        meta.pop = slice
    elif attack in PICKLES:
        checkpoint['payload'] = PICKLES[attack](marker)
    elif attack == 'message_hub.cfg':
        hub['runtime_info']['cfg'] = f'x = {text(marker)}\nmodel = dict()'
    else:
        meta[attack.removeprefix('meta.')] = f'x = {text(marker)}\nmodel = dict()'
    torch.save(checkpoint, path, **options)
    return Path(path)
