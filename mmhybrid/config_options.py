"""The option ``--cfg-options KEY=VALUE ...``: what is written on the command line, and where it goes in a config."""

import argparse
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.runner import Runner

from mmhybrid.config_mistakes import did_you_mean
from mmhybrid.errors import InputError
from mmhybrid.pretraining import variables
from mmhybrid.zoo import freezing


class OptionsAction(DictAction):
    """MMEngine's ``KEY=VALUE``, which keeps the spaces in a value: MMEngine's own removes them, also from a path.

    Numbers, booleans, None, lists and tuples are read as MMEngine does, but what is an existing file or folder as a
    whole stays one, also with commas or brackets in its name, and so does the value of a handle (:data:`HANDLES`).
    """

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Add the options to those that were given before."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values or ():
            key, equals, value = word.partition('=')
            if not equals or not key:
                parser.error(
                    f'{option_string} takes KEY=VALUE, and {word!r} is none; quote a value with spaces, KEY="a b"'
                )
            options[key] = _unquoted(value) if key in HANDLES and value != 'None' else parse_value(value)
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The value that a text on the command line stands for.

    >>> parse_value('[a b, (1, 2.5)]'), parse_value('1,True'), parse_value('/my data')
    (['a b', (1, 2.5)], [1, True], '/my data')
    """
    text = _unquoted(text)
    bare = text.strip()
    if (',' in bare or bare[:1] in ('(', '[')) and _exists(text):
        return text
    if bare[:1] in ('(', '[') and _closing(bare) == len(bare) - 1:
        items = [parse_value(item.strip()) for item in _split(bare[1:-1])]
        return tuple(items) if bare[0] == '(' else items
    if ',' in text and len(items := _split(text)) + text.rstrip().endswith(',') > 1:
        return [parse_value(item.strip()) for item in items]
    value = DictAction._parse_int_float_bool(bare)
    return text if isinstance(value, str) else value


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"' else text


def _closing(text: str) -> int | None:
    """Where the bracket closes that ``text`` begins with."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char in '([') - (char in ')]')
        if depth == 0:
            return i
    return None


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets; a last empty item is none. A text with unbalanced ones is one item."""
    items, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in '([') - (char in ')]')
        if depth < 0:
            return [text]
        if char == ',' and depth == 0:
            items.append(text[start:i])
            start = i + 1
    if depth:
        return [text]
    return items if not text[start:].strip() else [*items, text[start:]]


def apply_options(cfg: Config, options: dict[str, Any], name: str) -> None:
    """Set options in a config, those of handles everywhere.

    Args:
        cfg: Is changed.
        options: Values by dotted key.
        name: Of the config, for messages.

    Raises:
        InputError: If a key leads nowhere.
    """
    options = dict(options)
    for handle, change in HANDLES.items():
        if handle in options:
            if handle not in cfg:
                raise InputError(
                    f'{name} has no {handle}, so --cfg-options {handle}=... cannot apply to it; set what it '
                    'has, e.g. train_dataloader.dataset.data_root=DIR or model.backbone.init_cfg.checkpoint=FILE.'
                )
            change(cfg, options.pop(handle))
    if variables.concerns(cfg):
        for name_of, change in variables.VARIABLES.items():
            if name_of in options and name_of in cfg:
                change(cfg, options.pop(name_of))
    for key, value in options.items():
        _check_key(cfg, key, value, name)
    cfg.merge_from_dict(options)


def _check_key(cfg: Config, key: str, value: Any, name: str) -> None:
    parts, place = key.split('.'), cfg._cfg_dict
    option = f'--cfg-options {key}={value}'
    known = {*cfg, *_RUNNERS}
    # Another variable has no effect, except on what a user wrote for it.
    if parts[0] not in known and (close := did_you_mean(parts[0], known)):
        raise InputError(f'{option} cannot apply: {name} has no {parts[0]}{close}')
    for depth, part in enumerate(parts):
        above = '.'.join(parts[:depth]) or 'the config'
        if not part:
            raise InputError(f'{option} cannot apply: a name in {key} is empty.')
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise InputError(
                    f'{option} cannot apply: {above} in {name} is a list of {len(place)}; number its entries from 0.'
                )
            if depth == len(parts) - 1:  # which MMEngine does not do
                raise InputError(f'{option} cannot apply: {above} in {name} is a list; set the whole of it.')
            place = place[int(part)]
        elif isinstance(place, dict):
            if part not in place:
                return
            place = place[part]
        else:
            raise InputError(f'{option} cannot apply: {above} in {name} is {place!r}, which has no {part}.')


# What MMEngine and MMDetection read from the top of a config.
_RUNNERS = {
    *inspect.signature(Runner.__init__).parameters,
    *('auto_scale_lr', 'find_unused_parameters', 'sync_bn', 'model_wrapper_cfg', 'runner_type', 'compile'),
    *('activation_checkpointing', 'tta_model', 'tta_pipeline', 'custom_imports', 'fp16'),
} - {'self'}


def datasets(cfg: Config, loaders: tuple[str, ...] = ('train', 'val', 'test')) -> Iterator[ConfigDict]:
    """The data sets of some data loaders, also those within others."""
    for loader in loaders:
        settings = cfg.get(f'{loader}_dataloader')
        todo = [settings.get('dataset')] if isinstance(settings, dict) else []
        while todo:  # a data set may wrap another one, or several
            dataset = todo.pop()
            if isinstance(dataset, list):
                todo += dataset
            elif isinstance(dataset, dict):
                yield dataset
                todo += [dataset.get('dataset'), dataset.get('datasets')]


def evaluators(cfg: Config, *names: str) -> Iterator[ConfigDict]:
    """The evaluators of some settings, 'val_evaluator' and 'test_evaluator', which may be lists."""
    for name in names:
        given = cfg.get(name)
        yield from (each for each in (given if isinstance(given, list) else [given]) if isinstance(each, dict))


def _set_data_root(cfg: Config, root: str) -> None:
    if not isinstance(root, str):
        raise InputError(f'--cfg-options data_root={root} is no folder; give the path of one.')
    old, new = str(cfg.data_root), os.path.join(root, '')  # noqa: PTH118 (a path or a URL, with a closing slash)
    cfg.data_root = new
    for dataset in datasets(cfg):
        if dataset.get('data_root') == old:
            dataset.data_root = new
    for evaluator in evaluators(cfg, 'val_evaluator', 'test_evaluator'):
        if str(evaluator.get('ann_file') or '').startswith(old):
            evaluator.ann_file = new + evaluator.ann_file.removeprefix(old)


def _set_backbone_checkpoint(cfg: Config, checkpoint: str | None) -> None:
    # The same rule as in the configs, which have been evaluated by now.
    if not isinstance((cfg.get('model') or {}).get('backbone'), dict):
        raise InputError('--cfg-options backbone_checkpoint=FILE needs a config with a model.backbone.')
    cfg.backbone_checkpoint = checkpoint
    cfg.model.backbone.pop('init_cfg', None)
    cfg.model.backbone.update(freezing(checkpoint, cfg.get('freeze_backbone', True)))


# Variables at the top of a config that other settings were computed from when it was read.
HANDLES: dict[str, Callable[[Config, Any], None]] = {
    'data_root': _set_data_root,
    'backbone_checkpoint': _set_backbone_checkpoint,
}
