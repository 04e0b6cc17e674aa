"""Options of ``tools/test.py`` that say where results go, as settings of a config."""

import inspect
from pathlib import Path
from typing import Any

from mmdet.registry import METRICS
from mmengine.config import Config

from mmhybrid.config_options import evaluators
from mmhybrid.early_checks import check_writable
from mmhybrid.errors import InputError


def set_out(path: str) -> None:
    """Check that predictions can be written as a pickle to ``path``.

    Raises:
        InputError: If not.
    """
    if not path.endswith(('.pkl', '.pickle')):
        raise InputError(f'--out {path} must end in .pkl.')
    check_writable('--out', path)


def set_json_prefix(cfg: Config, prefix: str) -> None:
    """Let every evaluator of the test that can do so write its detections in COCO's format to files ``prefix``.*.json.

    Raises:
        InputError: If there is none, or if the files cannot be written.
    """
    given = list(evaluators(cfg, 'test_evaluator'))
    able = [evaluator for evaluator in given if _takes(evaluator.get('type'), 'outfile_prefix')]
    if not able:
        names = ', '.join(str(evaluator.get('type')) for evaluator in given) or 'none'
        raise InputError(
            f'--json-prefix needs a test_evaluator with the option outfile_prefix, such as CocoMetric, and this config '
            f'has {names}.'
        )
    check_writable('--json-prefix', f'{prefix}.bbox.json', f'{prefix}.segm.json')
    for evaluator in able:
        evaluator.outfile_prefix = prefix


def set_show_dir(cfg: Config, folder: str) -> None:
    """Let the detections be drawn into a folder, by MMDetection relative to the work dir's folder of this run.

    A config without MMDetection's hook, or without its visualizer, gets them.

    Raises:
        InputError: If the folder cannot be made.
    """
    if Path(folder).is_absolute():  # or it is in the work dir, which the runner makes before it begins
        check_writable('--show-dir', Path(folder, 'image.jpg'))
    hooks = cfg.get('default_hooks') or {}
    hook = hooks.get('visualization') or dict(type='DetVisualizationHook')
    cfg.default_hooks = {**hooks, 'visualization': {**hook, 'draw': True, 'test_out_dir': folder}}
    if (cfg.get('visualizer') or {}).get('type') in (None, 'Visualizer'):  # which draws nothing
        cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')


def _takes(kind: Any, option: str) -> bool:
    made = METRICS.get(kind) if isinstance(kind, str) else kind
    inits = [vars(base)['__init__'] for base in getattr(made, '__mro__', ())[:-1] if '__init__' in vars(base)]
    return any(option in inspect.signature(init).parameters for init in inits)
