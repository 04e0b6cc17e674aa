"""Variables at the top of a pre-training config from which its settings follow, also on the command line."""

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

from mmhybrid.errors import InputError

from .backbones import backbone_config


def concerns(cfg: Config) -> bool:
    """Whether a config is one of pre-training."""
    model = cfg.get('model')
    return isinstance(model, dict) and str(model.get('type')).rpartition('.')[2] == 'ImageClassifier'


def _set_backbone_name(cfg: Config, name: str) -> None:
    cfg.model.backbone = ConfigDict(backbone_config(name))
    cfg.backbone_name = name


def _set_num_classes(cfg: Config, number: int) -> None:
    cfg.num_classes = cfg.model.head.num_classes = _whole('num_classes', number, 2, ': a classifier needs two classes')


def _set_image_size(cfg: Config, size: int) -> None:
    old, new = cfg.image_size, _whole('image_size', size, 8)
    cfg.image_size = new
    for part in _dicts(cfg._cfg_dict):
        if 'type' in part and part.get('size') == old:
            part['size'] = new


def _set_max_epochs(cfg: Config, epochs: int) -> None:
    old, new = cfg.max_epochs, _whole('max_epochs', epochs, 1)
    cfg.max_epochs = cfg.train_cfg.max_epochs = new
    given = cfg.get('param_scheduler') or []
    schedules = given if isinstance(given, list) else [given]
    cfg.param_scheduler = [each for each in schedules if not each.get('by_epoch', True) or _scale(each, old, new)]


def _scale(schedule: ConfigDict, old: int, new: int) -> bool:
    """Let a schedule of ``old`` epochs be one of ``new``; False if nothing is left, as of a warm-up of half an epoch.

    MMEngine counts milestones, periods and steps from the schedule's begin on.
    """
    begin, end = schedule.get('begin', 0), schedule.get('end', old)
    first, last = round(begin * new / old), round(end * new / old)
    if last <= first:
        return False
    for key, value in (('begin', first), ('end', last)):
        if key in schedule:
            schedule[key] = value
    for key in ('T_max', 'total_steps', 'step_size'):
        if isinstance(schedule.get(key), int):
            whole = schedule[key] == end - begin
            schedule[key] = last - first if whole else max(round(schedule[key] * new / old), 1)
    if 'milestones' in schedule:
        # One at 0 would do nothing, and one that is there twice would count twice.
        milestones = {round(epoch * new / old) for epoch in schedule.milestones}
        schedule.milestones = sorted(epoch for epoch in milestones if 0 < epoch < last - first)
    if 'periods' in schedule:
        schedule.periods = cycles(schedule.periods, last - first)
        schedule.restart_weights = list(schedule.get('restart_weights', [1]))[: len(schedule.periods)]
    return True


def cycles(periods: list[int], epochs: int) -> list[int]:
    """The cycles that fit into a number of epochs; the last one takes what is left, so that it ends with the run.

    >>> cycles([10, 20, 40], 70), cycles([10, 20, 40], 45), cycles([10, 20, 40], 4)
    ([10, 20, 40], [10, 35], [4])
    """
    fitting: list[int] = []
    for period in periods:
        if sum(fitting) + period > epochs:
            break
        fitting.append(period)
    if not fitting:
        return [epochs]
    fitting[-1] += epochs - sum(fitting)
    return fitting


def _whole(name: str, value: Any, least: int, why: str = '') -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f'--cfg-options {name}={value} is no whole number from {least} on{why}.')
    return value


def _dicts(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _dicts(each)


VARIABLES: dict[str, Callable[[Config, Any], None]] = {
    'backbone_name': _set_backbone_name,
    'num_classes': _set_num_classes,
    'image_size': _set_image_size,
    'max_epochs': _set_max_epochs,
}
