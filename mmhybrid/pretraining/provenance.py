"""Where a pre-training comes from: the weights it began with, the options that its recipe does not name, the code."""

import contextlib
import os
import shutil
import subprocess
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from mmengine.config import Config

from mmhybrid.checkpoints.backbone_files import read_backbone
from mmhybrid.errors import InputError

_REPOSITORY = Path(__file__).resolve().parents[2]
# What is kept of the facts that a file of weights tells of itself.
_FACTS = (
    'variant', 'data', 'recipe', 'epochs', 'top1', 'licence', 'source', 'commit', 'tensors_sha256', 'started_from',
)  # fmt: skip
# Told elsewhere in a record: the backbone with its arguments, the data, and what a run begins with.
_ELSEWHERE = ('backbone_name', 'num_classes', 'model.head.num_classes', 'backbone_checkpoint', 'load_from', 'work_dir')
_PARTS_ELSEWHERE = ('data_root', 'ann_file', 'data_prefix', 'init_cfg', 'pretrained')  # with paths of a machine
# Of which no weight depends.
_NO_MATTER = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'logger')
_FLAGS = {'amp': False, 'auto_scale_lr': False, 'on_nonfinite': None}


def told(file: str, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """A beginning as it is kept: the file's name, and what the file tells of itself."""
    known = {key: (facts or {}).get(key) for key in _FACTS}
    return dict(file=PurePath(file).name, **{key: value for key, value in known.items() if value is not None})


def pretrained_files(model: Any) -> Iterator[str]:
    """Files that the parts of a model's config name as what they begin with."""
    if isinstance(model, Mapping):
        kind, file = str(model.get('type')).rpartition('.')[2], model.get('checkpoint')
        for each in (file if kind in ('Pretrained', 'PretrainedInit') else None, model.get('pretrained')):
            if isinstance(each, str):
                yield each
        model = list(model.values())
    for part in model if isinstance(model, list | tuple) else ():
        yield from pretrained_files(part)


def beginnings(model: Any) -> list[dict[str, Any]]:
    """What the parts of a model's config begin with, and what the files tell of themselves."""
    found = []
    for file in dict.fromkeys(pretrained_files(model)):
        facts = None
        with contextlib.suppress(InputError):  # of weights that are no backbone's
            facts = read_backbone(file).card
        found.append(told(file, facts))
    return found


def options(args: Namespace) -> dict[str, Any]:
    """What a command line changes in the recipe that its config is, by name.

    Left out are the backbone and its arguments, the data and files of weights, which a record tells by other keys, and
    what has no effect on weights.
    """
    recipe = Config.fromfile(args.config)
    found = {name: getattr(args, name) for name, usual in _FLAGS.items() if getattr(args, name, usual) != usual}
    for key, value in args.cfg_options.items():
        parts = key.split('.')
        elsewhere = (
            key in _ELSEWHERE or parts[:2] == ['model', 'backbone'] or set(parts) & {*_PARTS_ELSEWHERE, *_NO_MATTER}
        )
        if not elsewhere and _plain(_setting(recipe, parts)) != _plain(value):
            found[key] = value
    return found


def _setting(config: Config, parts: list[str]) -> Any:
    place: Any = config
    for part in parts:
        try:
            place = place[int(part)] if isinstance(place, list | tuple) else place[part]
        except (LookupError, ValueError, TypeError):
            return None
    return place


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def commit() -> str | None:
    """The commit of this code, with ``-dirty`` behind it if files were changed since; None where it is no checkout."""
    git = shutil.which('git')
    if git is None or not (_REPOSITORY / '.git').exists():  # also where it is installed within another's checkout
        return None
    words = [git, '-C', str(_REPOSITORY), 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*']
    # Which a hook of git sets, of its own repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith('GIT_')}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
