"""What follows from the finished runs of a size: differences to the baseline, how sure they are, and a verdict by rule.

Fixed before any result was looked at:

- The one primary test of a model is the slope of its difference in AP over r (least squares over the strata, r the
  mean of the stratum's images): the article's claim is that tied filters help more the more occlusion there is.
  ``SLOPE`` turns its interval into a word.
- Second is the difference over all images, ``OVERALL``. A slope above 0 with a difference below 0 is no help that
  grows but a loss that shrinks, which any network that is worse by a constant factor shows, since the baseline's AP
  falls with r. It is called that.
- Everything else describes: strata with Holm's adjustment over one model's strata, the slope of the logarithm of
  the ratio of both APs, recall by the instances' own visibility.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.occlusion import matching as engines
from mmhybrid.version import __version__

from . import plan, runs
from .effects import CONFIDENCE, Effect, effect, holm, images_needed, seeds_needed, slope_weights
from .measure import Images

# Interval above 0, below 0, or neither.
SLOPE = ('supported', 'contradicted', 'undecided')
OVERALL = ('better', 'worse', 'undecided')
SHRINKING_LOSS = 'a loss that shrinks'


def analyse(
    root: Path,
    size: str,
    content: Mapping[str, Any],
    say: Callable[[str], None] = lambda text: None,
    of: plan.Plan = plan.STUDY,
    **draws: int,
) -> dict[str, Any]:
    """Evaluate the finished runs of a size and compare each model with the baseline.

    Models may have different numbers of seeds: a comparison takes those that both have.

    Args:
        root: Where finished runs are kept.
        size: Key of ``plan.SIZES``.
        content: The loaded annotations of the validation images.
        say: Called with a sentence for each run.
        of: What is compared.
        draws: ``resamples`` and ``seed`` of :class:`Images`.

    Returns:
        All numbers, as JSON; AP and recall are fractions from 0 to 1, a slope is AP per unit of r.

    Raises:
        InputError: No run of the baseline is finished, or a file cannot be used.
    """
    images = Images(content, **draws)
    records = {model: _finished(root, size, model) for model in of.models}
    records = {model: made for model, made in records.items() if made}
    if of.baseline not in records:
        raise InputError(f'no {size} run of {of.baseline} is finished under {root}; see the command "left".')
    measured: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    for model, made in records.items():
        measured[model] = {}
        for seed in made:
            say(f'{model} seed {seed}: evaluating')
            measured[model][seed] = images.measure(runs.Run(size, model, seed).folder(root) / runs.DETECTIONS)
    baseline = measured[of.baseline]
    every = [made for each in records.values() for made in each.values()]
    return dict(
        size=size,
        settings=plan.described(size),
        baseline=of.baseline,
        confidence=CONFIDENCE,
        resamples=images.resamples,
        draws_seed=images.seed,
        training=dict(
            hardware=sorted({made['hardware'] for made in every}),
            versions=sorted({text for made in every for text in made['versions'].values()}),
            commits=sorted({made['commit'] for made in every}),
        ),
        versions=dict(mmhybrid=__version__, numpy=np.__version__, engine=engines.default_engine()),
        strata=[
            dict(name=part.name, mean_r=_rounded(r), images=int(n), instances=int(m))
            for part, r, n, m in zip(images.strata, images.mean_r, images.num_images, images.num_instances, strict=True)
        ],
        instances=[
            dict(name=part.name, images=int(n), instances=int(m))
            for part, n, m in zip(images.groups, images.group_images, images.group_instances, strict=True)
        ],
        models={
            model: _described(of.models[model], made, measured[model])
            | ({} if model == of.baseline else dict(against=_compared(images, measured[model], baseline)))
            for model, made in records.items()
        },
    )


def _finished(root: Path, size: str, model: str) -> dict[int, dict[str, Any]]:
    seeds = sorted(int(path.name.removeprefix('seed')) for path in (root / size / model).glob('seed*'))
    records = {seed: runs.record(root, runs.Run(size, model, seed)) for seed in seeds}
    return {seed: made for seed, made in records.items() if made is not None}


def _described(
    model: plan.Model, made: Mapping[int, Mapping[str, Any]], measured: Mapping[int, Mapping]
) -> dict[str, Any]:
    """What the runs of a model are, and its values: a list over seeds, and means over them."""
    any_run = next(iter(made.values()))
    values = {
        name: [[_rounded(x) for x in measured[seed][name][0]] for seed in made] for name in ('ap', 'recall50', 'recall')
    }
    return dict(
        title=model.title,
        tied=model.backbone['type'].startswith('Tied'),
        parameters=any_run['parameters'],
        seeds=list(made),
        train_seconds=[each['seconds']['train'] for each in made.values()],
        by_seed=values,
        mean={name: [_rounded(x) for x in np.mean(each, axis=0)] for name, each in values.items()},
    )


def _compared(images: Images, model: Mapping[int, Mapping], baseline: Mapping[int, Mapping]) -> dict[str, Any]:
    """A model against the baseline, on the seeds that both have."""
    seeds = [seed for seed in model if seed in baseline]
    if not seeds:
        return dict(seeds=[])

    def both(name: str) -> tuple[np.ndarray, np.ndarray]:
        """``(1 + R, S, columns)`` of the model and of the baseline."""
        return tuple(np.stack([runs_of[seed][name] for seed in seeds], axis=1) for runs_of in (model, baseline))

    total, num_strata = int(images.num_images.sum()), len(images.strata)
    ours, theirs = both('ap')
    gap = ours - theirs
    slope = slope_weights(images.mean_r)
    overall = _effect(gap[..., 0], total, num_strata)
    primary = _effect(gap[..., 1:] @ slope, total, num_strata)
    strata = [_effect(gap[..., 1 + k], int(n)) for k, n in enumerate(images.num_images)]
    with np.errstate(divide='ignore', invalid='ignore'):
        logs = np.log(ours[..., 1:]) - np.log(theirs[..., 1:])
    adjusted = holm([each.p for each in strata])
    recalls = {name: np.subtract(*both(name)) for name in ('recall50', 'recall')}
    return dict(
        seeds=seeds,
        slope=dict(_rounded_effect(primary), **judged(primary, SLOPE, overall)),
        overall=dict(_rounded_effect(overall), **judged(overall, OVERALL)),
        # AP of 0 has no logarithm.
        log_slope=_rounded_effect(_effect(logs @ slope, total, num_strata)) if np.isfinite(logs).all() else None,
        strata=[_rounded_effect(each) | dict(p_holm=_rounded(p)) for each, p in zip(strata, adjusted, strict=True)],
        **{
            name: [_rounded_effect(_effect(each[..., g], int(n))) for g, n in enumerate(images.group_images)]
            for name, each in recalls.items()
        },
    )


def judged(found: Effect, words: Sequence[str], overall: Effect | None = None) -> dict[str, Any]:
    """The verdict on a difference, and what would decide it where it is undecided.

    Args:
        found: The difference.
        words: For an interval above 0, below 0 and neither.
        overall: The difference over all images, if ``found`` is a slope.

    Returns:
        ``verdict``; where it is undecided also ``seeds_needed`` and, if no number of seeds would do on these images,
        ``images_needed``, both supposing that value and variances are those found.
    """
    above, below, neither = words
    if found.low > 0:
        return dict(verdict=SHRINKING_LOSS if overall is not None and overall.high < 0 else above)
    if found.high < 0:
        return dict(verdict=below)
    if found.seeds < 2:
        return dict(verdict=neither, seeds_needed=None, images_needed=None)
    seeds = seeds_needed(found)
    return dict(verdict=neither, seeds_needed=seeds, images_needed=None if seeds else images_needed(found))


def _effect(values: np.ndarray, images: int, strata: int = 1) -> Effect:
    return effect(values[0], values[1:], images, strata)


def _rounded_effect(found: Effect) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else _rounded(value) for name, value in vars(found).items()}


def _rounded(value: float) -> float | None:
    """To what can be told apart, so that engines and processors write the same file; no number is null."""
    return None if not math.isfinite(value) else float(f'{value:.6g}')
