"""The data sets of a config as MMDetection would read them, and its heads. This imports MMDetection."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path
from mmengine.utils import is_abs
from torch import nn

from mmhybrid import _stack
from mmhybrid.errors import InputError

from .findings import Finding, found

with _stack.quiet():  # this registers the data sets
    from mmdet.datasets import CocoDataset

LOADERS = ('train', 'val')
# Their `num_classes` is none of the data set's; what MMDetection's NumClassCheckHook passes over, too.
_OTHER_HEADS = ('FusedSemanticHead', 'VGG', 'SSDVGG')


@dataclass(frozen=True)
class DataSet:
    """A data set of a config that holds images itself, in whatever wrappers.

    Attributes:
        loader: ``'train'`` or ``'val'``.
        where: The setting, e.g. ``'train_dataloader.dataset.datasets.0'``.
        classes: ``metainfo.classes`` as MMDetection resolves it; None where the data set has none.
        numbered: Whether labels are numbered as ``CocoDataset`` does, in the order of the annotation file.
        ann_file: Path of the annotation file; '' for none.
        images: Path of the folder of images.
        remote: Whether they are elsewhere than in files.
        loads_masks: Whether the pipeline loads masks; None where it loads no annotations in a known way.
        need_masks: Whether something dies without segmentations.
        one_output_a_class: Whether the model's heads count these classes: not where they are things and stuff, nor
            where the classes are given to the model as text.
    """

    loader: str
    where: str
    classes: Any
    numbered: bool
    ann_file: str
    images: str
    remote: bool
    loads_masks: bool | None
    need_masks: bool
    one_output_a_class: bool


def data_sets(cfg: Mapping[str, Any], loaders: Sequence[str] = LOADERS) -> Iterator[DataSet]:
    """The data sets of some data loaders, within wrappers and concatenations.

    Raises:
        InputError: A ``metainfo`` or a path in it is of the wrong type.
    """
    for loader in loaders:
        settings = cfg.get(f'{loader}_dataloader')
        dataset = settings.get('dataset') if isinstance(settings, Mapping) else None
        todo = [(f'{loader}_dataloader.dataset', dataset)]
        while todo:
            where, dataset = todo.pop(0)
            if isinstance(dataset, list | tuple):
                todo += [(f'{where}.{i}', each) for i, each in enumerate(dataset)]
            elif isinstance(dataset, Mapping):
                inner = [(f'{where}.{key}', dataset[key]) for key in ('dataset', 'datasets') if dataset.get(key)]
                todo += inner
                if not inner and (kind := _kind(dataset.get('type'))) is not None:
                    yield _data_set(cfg, loader, where, dataset, kind)


def _kind(name: Any) -> type[BaseDataset] | None:
    kind = DATASETS.get(name) if isinstance(name, str) and name else name
    return kind if isinstance(kind, type) and issubclass(kind, BaseDataset) else None


def _data_set(cfg: Mapping, loader: str, where: str, dataset: Mapping, kind: type[BaseDataset]) -> DataSet:
    for name, example in (('metainfo', 'classes=(...)'), ('data_prefix', "img='train/'"), ('backend_args', '...')):
        if not isinstance(dataset.get(name) or {}, Mapping):
            raise InputError(f'{where}.{name} is {dataset[name]!r}; give dict({example}).')
    metainfo = dataset.get('metainfo')
    try:
        metainfo = kind._load_metainfo(copy.deepcopy(metainfo))
    except OSError as error:
        raise InputError(f'{where}.metainfo names a file that cannot be read ({error}).') from None
    root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix') or {}
    ann_file, folder = dataset.get('ann_file') or '', prefix.get('img') or prefix.get('img_path') or ''
    for name, path in (('data_root', root), ('ann_file', ann_file), ('data_prefix', folder)):
        if not isinstance(path, str):
            raise InputError(f'{where}.{name} is {path!r}; give a path.')
    backend = (dataset.get('backend_args') or {}).get('backend', 'local')
    loads_masks = _loads_masks(dataset.get('pipeline'))
    return DataSet(
        loader=loader,
        where=where,
        classes=metainfo.get('classes'),
        numbered=issubclass(kind, CocoDataset)
        and kind.load_data_list is CocoDataset.load_data_list
        and kind.COCOAPI is CocoDataset.COCOAPI,
        ann_file=_joined(root, ann_file) if ann_file else '',
        images=_joined(root, folder),
        remote=backend not in ('local', 'disk') or '://' in root + ann_file,
        loads_masks=loads_masks,
        need_masks=bool(loads_masks) or (loader == 'val' and _evaluates_masks(cfg)),
        one_output_a_class='thing_classes' not in metainfo and 'language_model' not in (cfg.get('model') or {}),
    )


def _joined(root: str, path: str) -> str:
    return join_path(root, path) if root and not is_abs(path) else path


def _loads_masks(pipeline: Any) -> bool | None:
    """Whether any ``LoadAnnotations`` in a pipeline loads masks; None where there is none."""
    if isinstance(pipeline, Mapping):
        kind = pipeline.get('type')
        name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
        if name.rpartition('.')[2] == 'LoadAnnotations':
            return bool(pipeline.get('with_mask'))
        pipeline = list(pipeline.values())
    if not isinstance(pipeline, list | tuple):
        return None
    inner = [loads for loads in map(_loads_masks, pipeline) if loads is not None]
    return any(inner) if inner else None


def _evaluates_masks(cfg: Mapping[str, Any]) -> bool:
    evaluators = cfg.get('val_evaluator') or []
    evaluators = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    metrics = [each.get('metric') for each in evaluators if isinstance(each, Mapping)]
    return any('segm' in ([metric] if isinstance(metric, str) else metric) for metric in metrics if metric)


def heads_of_config(model: Any, name: str = '') -> dict[str, int]:
    """``num_classes`` of the parts of a model's config that state it, by name, but for the ``rpn_head``."""
    heads: dict[str, int] = {}
    if isinstance(model, Mapping):
        number, kind = model.get('num_classes'), model.get('type')
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if isinstance(number, int) and not _is_other_head(kind):
            heads[name or 'model'] = number
        parts = [(key, part) for key, part in model.items() if not key.endswith(('rpn_head', '_cfg'))]
    else:
        parts = enumerate(model) if isinstance(model, list | tuple) else ()
    for key, part in parts:
        heads |= heads_of_config(part, f'{name}.{key}'.lstrip('.'))
    return heads


def heads_of_model(model: nn.Module) -> dict[str, int]:
    """``num_classes`` of a model's modules by name, of those that MMDetection's ``NumClassCheckHook`` looks at."""
    return {
        name.removeprefix('module.') or 'model': module.num_classes
        for name, module in model.named_modules()
        if isinstance(getattr(module, 'num_classes', None), int)
        and not name.endswith('rpn_head')
        and not _is_other_head(type(module))
    }


def _is_other_head(kind: Any) -> bool:
    return bool({base.__name__ for base in getattr(kind, '__mro__', ())} & set(_OTHER_HEADS))


def has_mask_head(model: Any) -> bool:
    """Whether a model's config has a mask head on regions of interest, which nothing trains without masks."""
    if isinstance(model, list | tuple):
        return any(map(has_mask_head, model))
    if not isinstance(model, Mapping):
        return False
    roi_head = model.get('roi_head')
    return (isinstance(roi_head, Mapping) and bool(roi_head.get('mask_head'))) or any(
        map(has_mask_head, model.values())
    )


def check_settings(cfg: Mapping[str, Any], parts: Sequence[DataSet], heads: Mapping[str, int]) -> list[Finding]:
    """What the settings contradict each other in: classes, heads, masks.

    Args:
        cfg: The config.
        parts: Its data sets.
        heads: Number of classes of each head.
    """
    known = [p for p in parts if isinstance(p.classes, list | tuple) and p.classes and p.one_output_a_class]
    wrong = [
        f'{name} has {number}, {part.where} has {len(part.classes)}'
        for part in known
        for name, number in heads.items()
        if number != len(part.classes)
    ]
    differing = [
        f'{part.where} differs from {known[0].where}'
        for part in known[1:]
        if list(part.classes) != list(known[0].classes)
    ]
    maskless = [part.where for part in parts if part.loader == 'train' and part.loads_masks is False]
    return [
        *found('head-classes', wrong, hint='set num_classes of every head to the number of classes'),
        *found('classes-differ', differing, hint='give all the same metainfo'),
        *found(
            'masks-not-loaded',
            maskless if has_mask_head(cfg.get('model')) else [],
            hint='LoadAnnotations needs with_mask=True, or the model no mask_head',
        ),
    ]
