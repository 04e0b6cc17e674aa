"""How accuracy falls under one adversarial step: ``mmhybrid inspect fgsm``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.predicting.detector import require_boxes

from .. import samples as looking
from ..drawing import fgsm as drawing
from ..findings import Findings, Table
from ..samples import Sample
from ..subjects import BACKBONE, CLASSIFIER, DETECTOR, Subject
from . import truth
from .accuracy import Measured, by_rank, by_stratum, listed, mean
from .attacked import FGSM, RANDOM, Outcome, conditions, of_classifier, of_detector
from .attacks import ladder

FEW_OF_AP = 50  # images under which AP is
FEW = 200  # images under which an accuracy is rough: its standard error is up to 3.5 points there
_GREY_LEVEL = 1 / 255
_NOTHING = 0.01  # of accuracy or AP, from which nothing can fall


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Attack the images for each model, and measure it on them.

    Args:
        subjects: Classifiers or detectors of the same classes.
        samples: Annotated images of the first one's data set.
        args: ``epsilons``, ``random``, ``seed`` and ``batch_size``.

    Raises:
        InputError: If a model has no loss, or the models cannot be compared.
    """
    kind = check(subjects)
    epsilons = ladder(args.epsilons)
    wanted = conditions(epsilons, args.random)
    known = truth.load(subjects[0], samples) if kind == DETECTOR else None
    attack = of_classifier if known is None else of_detector
    with looking.progress(len(samples) * len(subjects), 'images') as done:
        outcomes = {
            subject.name: attack(subject, samples, wanted, args.seed, args.batch_size, done) for subject in subjects
        }
    ids = [] if known is None else [sample.image_id for sample in samples]
    measured = {
        name: by_rank(outcome, epsilons) if known is None else by_stratum(outcome, ids, known, epsilons)
        for name, outcome in outcomes.items()
    }
    label = 'accuracy' if known is None else 'box AP'
    about = (
        f'Solid: {label} after each value of each pixel (from 0 to 1) moved by epsilon to where the gradient says that '
        'the loss rises; at 0 the images are as they were.'
    )
    control = ' Dashed: after steps as large with random signs.' if args.random else ''
    return Findings(
        answer=[sentence for name, own in measured.items() for sentence in _sentences(name, own, epsilons, label)],
        about=about + control,
        numbers={
            'epsilons': epsilons,
            'measure': label,
            'models': {name: _numbers(own, outcomes[name], samples, epsilons) for name, own in measured.items()},
        },
        figures={'': drawing.draw(measured, epsilons, label)},
        tables=[_table(measured, epsilons, label)],
        notes=list(_notes(measured, outcomes, epsilons, kind)),
    )


def check(subjects: Sequence[Subject]) -> str:
    """What the models are: all classifiers or all detectors, of the same classes.

    Raises:
        InputError: If they are not.
    """
    for subject in subjects:
        if subject.kind == BACKBONE:
            raise InputError(
                f'{subject.name} is a backbone without a head, and so has no loss to raise; give the config of a '
                'classifier or detector and its checkpoint.'
            )
        if subject.kind == DETECTOR:
            require_boxes(subject.cfg)
    first = subjects[0]
    for other in subjects[1:]:
        if other.kind != first.kind:
            raise InputError(
                f'{first.name} is a {first.kind} and {other.name} a {other.kind}, whose accuracies do not compare; '
                'give models of one kind.'
            )
        if first.classes and other.classes and first.classes != other.classes:
            raise InputError(
                f'{first.name} and {other.name} have different classes, and the images are those of the first; give '
                'models of the same classes.'
            )
    return first.kind


def _numbers(
    measured: Measured, outcome: Outcome, samples: Sequence[Sample], epsilons: Sequence[float]
) -> dict[str, Any]:
    return {
        'values': {what: listed(own, epsilons) for what, own in measured.curves.items()},
        'images': measured.counts,
        **measured.more,
        'failed': sum(outcome.failed),
        'failed_images': [own.name for own, failed in zip(samples, outcome.failed, strict=True) if failed],
        'zero_gradients': sum(each.masked for each in outcome.attacks),
        'share_of_zeros': mean([each.share_of_zeros for each in outcome.attacks if not each.failed]),
        'loss_by_image': [each.loss for each in outcome.attacks],
    }


def _table(measured: Mapping[str, Measured], epsilons: Sequence[float], label: str) -> Table:
    rows = [
        [name, what, str(own.counts[what]), drawing.KINDS[kind], *map(_percent, values)]
        for name, own in measured.items()
        for what in own.curves
        for kind in (FGSM, RANDOM)
        if (values := own.along(what, kind, epsilons)) is not None
    ]
    columns = ['model', '', 'images', 'signs', *(f'{epsilon:g}' for epsilon in epsilons)]
    return Table(f'{label} in % by epsilon', columns, rows)


def _sentences(name: str, measured: Measured, epsilons: Sequence[float], label: str) -> Iterator[str]:
    """Of all images, or top-1, and of the strata."""
    if not any(measured.counts.values()):
        yield f'{name}: the attack failed on every image, so nothing is known of how it holds up.'
        return
    (first, *others), last = measured.curves, epsilons[-1]
    count = measured.counts[first]
    what = f'box AP of {count} image{"" if count == 1 else "s"}' if label == 'box AP' else f'{first} accuracy'
    own = measured.along(first, FGSM, epsilons)
    control = measured.along(first, RANDOM, epsilons)
    told = f'{name}: {what} is {_percent(own[0])}% as the images are and {_percent(own[-1])}% at epsilon {last:g}'
    yield told + (f'; with random signs it is {_percent(control[-1])}% there.' if control else '.')
    each = [
        f'{what} {_percent(values[0])}% and {_percent(values[-1])}%'
        for what in others
        if (values := measured.along(what, FGSM, epsilons))
    ]
    if each:
        yield f'{name}, likewise: {", ".join(each)}.'


def _notes(
    measured: Mapping[str, Measured], outcomes: Mapping[str, Outcome], epsilons: Sequence[float], kind: str
) -> Iterator[str]:
    for name, outcome in outcomes.items():
        total = len(outcome.failed)
        if failed := sum(outcome.failed):
            yield (
                f'{name}: on {failed} of {total} images the attack failed, as the loss, its gradient or the output was '
                'NaN or infinite; they are left out at every epsilon, as neither right nor wrong.'
            )
        if masked := sum(each.masked for each in outcome.attacks):
            yield (
                f'{name}: on {masked} of {total} images the whole gradient is 0 and no pixel moved; that they stay '
                'right is no sign of robustness.'
            )
        if any(own[FGSM, 0.0] < _NOTHING for own in measured[name].curves.values()):
            yield f'{name} is right too rarely, as the images are, for a fall to show: under {_NOTHING:.0%}.'
    least, value = (FEW_OF_AP, 'AP') if kind == DETECTOR else (FEW, 'accuracy')
    fewest: dict[str, int] = {}
    for own in measured.values():
        for what, count in own.counts.items():
            fewest[what] = min(count, fewest.get(what, count))
    if few := [f'{what} ({count})' for what, count in fewest.items() if count < least]:
        yield f'{value} is rough where it is of fewer than {least} images: {", ".join(few)}; --limit takes more.'
    if len(measured) > 1:
        yield 'The models are compared on these images, by one checkpoint each: others may order them otherwise.'
        if len({tuple(outcome.failed) for outcome in outcomes.values()}) > 1:
            yield 'The attack failed on other images of one model than of another, so that they are not of the same.'
    if any(0 < epsilon < _GREY_LEVEL for epsilon in epsilons):
        yield 'An epsilon under 1/255 = 0.0039 is less than a grey level, which no image file of 8 bits can hold.'
    yield 'This is one step; attacks of several steps leave less.'
    if kind == CLASSIFIER:
        yield (
            'Steps are by the true labels: a model that was trained on such images can read the label off a step '
            '(label leaking, Kurakin et al. 2017), and then seems robust.'
        )


def _percent(value: float) -> str:
    return '-' if value != value else f'{100 * value:.1f}'
