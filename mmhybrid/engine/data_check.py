"""Refuse to train on data that contradict the config: the cheap part of ``mmhybrid data check``, before iteration 1."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmhybrid.datasets.check import KINDS, Report, check_annotations, configs
from mmhybrid.datasets.check.findings import ERROR, Finding
from mmhybrid.errors import InputError
from mmhybrid.text import plural

from .unwrapping import unwrapped

# Of a data set whose labels are made in training.
_UNLABELLED = ('no-instances', 'image-empty', 'class-empty')
# Of this process, by setting: what was read, and what of it is to be known.
_REPORTS: dict[str, tuple[Any, Report]] = {}


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Check annotation files, classes and heads of the train and val loaders before the first iteration.

    Only the main process reads the files; see :func:`check_config_data` for what is refused. Faults that are allowed,
    and warnings, go to the log.

    Args:
        allow: Kinds of error to train with all the same, e.g. ``('class-missing', 'category-order')``; the keys of
            ``mmhybrid.datasets.check.KINDS``.

    Raises:
        InputError: In ``before_train``, in every process, if something is refused.
    """

    def __init__(self, allow: Sequence[str] = ()):
        self.allow = _known(allow)

    def before_train(self, runner: Runner) -> None:
        """Check, log, and refuse."""
        outcome: list[Any] = [None, None]
        bug = None
        if is_main_process():
            model = unwrapped(runner.model)
            try:
                outcome[0] = check_config_data(runner.cfg, heads=configs.heads_of_model(model), allow=self.allow)
            except InputError as error:
                outcome[1] = error
            except Exception as error:  # the others wait for the outcome
                outcome[1], bug = RuntimeError(f'The data check failed: {error!r}'), error
        broadcast_object_list(outcome)
        notes, refusal = outcome
        if refusal is not None:
            raise refusal from bug
        for note in notes:
            runner.logger.info(note)


def check_before_building(cfg: Mapping[str, Any]) -> None:
    """Do the hook's work earlier, where a config names it: MMDetection dies of some faults when it reads the files.

    Only a job's first process does it, whose end ends the others; the hook, later, remembers what was read.

    Raises:
        InputError: As :func:`check_config_data`.
    """
    hooks = [hook for hook in cfg.get('custom_hooks') or () if isinstance(hook, Mapping)]
    hooks = [hook for hook in hooks if hook.get('type') in ('DataCheckHook', 'mmdet.DataCheckHook', DataCheckHook)]
    if hooks and os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0':
        check_config_data(cfg, allow=hooks[0].get('allow') or ())


def check_config_data(
    cfg: Mapping[str, Any],
    loaders: Sequence[str] = configs.LOADERS,
    heads: Mapping[str, int] | None = None,
    allow: Sequence[str] = (),
) -> list[str]:
    """Compare a config's annotation files, classes and heads. No image is opened.

    Args:
        cfg: The config.
        loaders: Of which loaders, ``'train'`` and ``'val'``.
        heads: Number of classes of each head, by name; by default those that the config states.
        allow: Kinds of error to pass over, as in :class:`DataCheckHook`.

    Returns:
        Sentences for the log: what was read, in which time, what MMDetection will leave out.

    Raises:
        InputError: Naming the first error; what is one is in ``mmhybrid.datasets.check.KINDS``.
    """
    allow = _known(allow)
    if str((cfg.get('model') or {}).get('type')).rpartition('.')[2] == 'ImageClassifier':
        return []  # of tools/pretrain.py, whose pictures have folders for annotations, which PretrainingHook compares
    parts = list(configs.data_sets(cfg, loaders))
    heads = configs.heads_of_config(cfg.get('model')) if heads is None else heads
    notes: list[str] = []
    # At once to be had, so before the files.
    for each in configs.check_settings(cfg, parts, heads):
        if each.kind not in allow:
            raise InputError(f'The config contradicts itself: {each.sentence}.')
        notes.append(f'{each.sentence}.')
    for part in parts:
        place = f'{part.where} ({part.ann_file})'
        if part.remote or not part.numbered or not part.ann_file:
            notes.append(f'Data check: {part.where} was not looked at: its annotations are no COCO file on a disk.')
            continue
        report = _remembered(part).allowing(allow)
        if report.errors:
            raise InputError(_sentence(place, report.errors))
        notes += _notes(place, report)
    return notes


def check_data_set(part: configs.DataSet, masks: bool = False) -> Report:
    """Check one data set's annotation file against its classes.

    Args:
        part: The data set.
        masks: As in :func:`mmhybrid.datasets.check.check_annotations`.

    Raises:
        InputError: The file cannot be read.
    """
    report = check_annotations(Path(part.ann_file), part.classes, need_masks=part.need_masks, masks=masks)
    return report if part.loads_masks is not None else report.without(_UNLABELLED)


def _remembered(part: configs.DataSet) -> Report:
    """A data set's report without the annotations, read once as long as the file stays as it is."""
    try:
        state = Path(part.ann_file).stat()
        known = _REPORTS.get(part.where)
        if known is not None and known[0] == (part, state.st_mtime_ns, state.st_size):
            return known[1]
    except (OSError, ValueError):  # told where it is read
        return check_data_set(part)
    report = replace(check_data_set(part), contents=None)
    _REPORTS[part.where] = ((part, state.st_mtime_ns, state.st_size), report)
    return report


def _known(kinds: Sequence[str]) -> tuple[str, ...]:
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f'DataCheckHook: allow names {kind!r}, which is no kind of fault; see docs/data.md.')
    return kinds


def _sentence(place: str, errors: Sequence[Finding]) -> str:
    first, others = errors[0], [each.kind for each in errors[1:]]
    more = f'; also {", ".join(others)}' if others else ''
    return (
        f'{place}: {first.sentence}{more}; mmhybrid data check tells all, and '
        f"dict(type='DataCheckHook', allow={[each.kind for each in errors]}) in custom_hooks lets it pass."
    )


def _notes(place: str, report: Report) -> list[str]:
    lost = sum(report.dropped.values())
    reasons = ', '.join(f'{reason} {count:,}' for reason, count in report.dropped.items() if count)
    left_out = f'; MMDetection leaves out {plural(lost, "annotation")} ({reasons})' if lost else ''
    return [
        f'Data check of {place}: {plural(report.num_images, "image")}, {plural(report.num_annotations, "annotation")}, '
        f'{plural(report.num_categories, "category", "categories")}, {report.seconds:.1f} s{left_out}.',
        *(f'{place}: {each.sentence}.' for each in report.findings if each.severity != ERROR),
    ]
