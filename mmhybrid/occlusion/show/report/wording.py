"""Sentences of the report: definitions, and a summary worked out from the numbers without claiming causes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...results import Bootstrap, Comparison, Difference, Errors, Measure, OcclusionResult, StratumResult
from .numbers import (
    amount,
    count,
    fraction_name,
    interval,
    is_interval,
    p_value,
    percent,
    points,
    points_interval,
    stratum_name,
)

IOU_TYPES = {'bbox': 'boxes', 'segm': 'masks'}
GEOMETRIES = {'bbox': 'their boxes', 'segm': 'their masks', 'amodal': 'their amodal masks, hidden parts included'}
KIND_NAMES = {
    'duplicate': 'duplicate',
    'confusion': 'wrong class',
    'partial': 'poorly localised',
    'background': 'background',
}
_DEFINITIONS = {
    'covered': (
        "the share of an image's total instance area (by {0}) that another instance of the image covers too: "
        '0 where no instances overlap, 1 where every instance is covered completely'
    ),
    'multi': (
        'the area that at least two instances of an image cover (by {0}) over the area that any instance covers: '
        '0 where no instances overlap'
    ),
    'pairwise': (
        'the overlap of every pair of instances of an image (by {0}), summed, over the sum of the instance areas: '
        '0 where no instances overlap, and above 1 where many overlap at the same place'
    ),
    'invisible': (
        "the share of an image's total instance area (by {0}) that cannot be seen: 0 where every instance is in full "
        'view'
    ),
    'max-iou': (
        'the highest IoU between two instances of an image (by {0}): 0 where no instances overlap, 1 where two coincide'
    ),
}


def definition(measure: Measure) -> str:
    """What the strata are made by, in one sentence."""
    if measure.definition not in _DEFINITIONS:
        return f'Images are put into strata by {measure.name}, a property of each image that the user gave.'
    words = _DEFINITIONS[measure.definition].format(GEOMETRIES.get(measure.geometry, measure.geometry))
    return f'The occlusion ratio {measure.name} is {words}.'


def bootstrap_settings(bootstrap: Bootstrap | None) -> str:
    """How intervals were made, in one sentence."""
    if bootstrap is None:
        return 'No intervals were asked for; without them, small differences must not be read as differences.'
    return (
        f'{100 * bootstrap.confidence:g}% intervals from {count(bootstrap.resamples)} bootstrap resamples '
        f'of the images (seed {bootstrap.seed}), the same resamples for every stratum and model, shifted to have the '
        'value itself as their median.'
    )


def strata_compared(result: OcclusionResult, min_images: int) -> list[str]:
    """Which two strata :func:`summary` compares, and what differs between them beside the measure."""
    ends = first_and_last(result, min_images)
    if ends is None:
        return [f'Fewer than two strata have AP on at least {min_images} images, so none are compared here.']
    low, high = ends
    place = ''
    if high.stratum.kind == 'group':
        place = f', the groups of highest and lowest AP of {result.name} among those with at least {min_images} images'
    elif high.stratum.kind == 'bin':
        quality = 'highest' if result.measure.definition == 'user' else 'most occluded'
        place = f', the {quality} bin with at least {min_images} images'
    elif low.stratum.kind == 'cumulative':
        place = '; these are part of the former'
    return [f'Compared are {_described(low)} and {_described(high)}{place}.']


def summary(result: OcclusionResult, ends: tuple[StratumResult, StratumResult] | None, min_images: int) -> list[str]:
    """A model's numbers in a few sentences: overall AP, AP at both ends of the measure, errors and recall there.

    Args:
        result: The model's.
        ends: The two strata to compare, from :func:`first_and_last` of any model's result on the same strata.
        min_images: Below this many instances, recall by instance is left out too.
    """
    name = f'{100 * result.bootstrap.confidence:g}% interval ' if result.bootstrap else 'interval '
    sentences = [
        f'AP is {_with_interval(row, "ap", name)} on all images.' for row in result.strata if row.stratum.kind == 'all'
    ]
    if ends is not None:
        own = {row.stratum.name: row for row in result.strata}
        low, high = (own[row.stratum.name] for row in ends)
        sentences += [_gap(low, high), *_common(result, low, high), *_errors(low, high)]
    return sentences + _recall(result, min_images)


def differences(comparison: Comparison, ends: Sequence[StratumResult]) -> list[str]:
    """Two models' differences in AP: on all images, and on some strata."""
    wanted = {row.stratum.name for row in ends}
    told = [
        _difference(row)
        for row in comparison.differences
        if row.metric == 'ap'
        and (row.stratum.kind == 'all' or row.stratum.name in wanted)
        and not math.isnan(row.difference)
    ]
    if not told:
        return []
    return [f'AP of {comparison.model} minus that of {comparison.baseline}, in percentage points: {"; ".join(told)}.']


def first_and_last(result: OcclusionResult, min_images: int) -> tuple[StratumResult, StratumResult] | None:
    """The lowest and the highest stratum of the measure that stand on enough images.

    Bins if two of them do; of the user's groups those of highest and of lowest AP; otherwise whatever strata there are.
    """
    others = [row for row in result.strata if row.stratum.kind != 'all']
    for rows in (result.bins, result.groups, others):
        enough = [row for row in rows if row.num_images >= min_images and not math.isnan(row.ap)]
        if len(enough) >= 2:
            if rows is result.groups or enough[0].stratum.kind == 'group':
                return max(enough, key=lambda row: row.ap), min(enough, key=lambda row: row.ap)
            enough.sort(key=lambda row: (row.stratum.lower, row.stratum.upper))
            return enough[0], enough[-1]
    return None


def multiplicity(num_differences: int, confidence: float) -> str:
    """What many comparisons do to p-values, in one sentence."""
    level = 1 - confidence
    return (
        f'The table holds {num_differences} differences; if the models were equally good, about '
        f'{amount(level * num_differences)} of them would be expected to have p below {level:.2g} by chance, and '
        'since strata share images these would tend to come together.'
    )


def _gap(low: StratumResult, high: StratumResult) -> str:
    drop = low.ap - high.ap
    if math.isnan(drop):
        change = 'not defined on both'
    elif abs(drop) < 0.0005:
        change = 'the same'
    else:
        change = f'{amount(100 * abs(drop))} points {"lower" if drop > 0 else "higher"}'
    a, b = low.intervals.get('ap'), high.intervals.get('ap')
    if is_interval(a) and is_interval(b):
        change += f'; the two intervals {"do not overlap" if a.low > b.high or b.low > a.high else "overlap"}'
    return (
        f'With {_where(low)} it is {_with_interval(low, "ap")}, with {_where(high)} it is '
        f'{_with_interval(high, "ap")}: '
        f'{change}.'
    )


def _common(result: OcclusionResult, low: StratumResult, high: StratumResult) -> list[str]:
    if math.isnan(low.ap_common) or math.isnan(high.ap_common):
        return []
    values = f'{percent(low.ap_common)}% and {percent(high.ap_common)}%'
    number = result.num_common_categories
    return [f'Over the {number} categor{"y" if number == 1 else "ies"} that every large stratum has, it is {values}.']


def _errors(low: StratumResult, high: StratumResult) -> list[str]:
    a, b = low.errors, high.errors
    if a is None or b is None:
        return []
    growth = {kind: per_image(high, kind) - per_image(low, kind) for kind in Errors.KINDS}
    kind = max(growth, key=growth.__getitem__)
    setting = f'IoU {b.iou_thr:g}, score at least {b.min_score:g}'
    if growth[kind] <= 0:
        return [f'No kind of false positive becomes more frequent an image from the first to the second ({setting}).']
    return [
        f'Among the false positives ({setting}), the kind “{KIND_NAMES[kind]}” grows most: from '
        f'{amount(per_image(low, kind), 2)} to {amount(per_image(high, kind), 2)} an image, from {_share(a, kind)} to '
        f'{_share(b, kind)} of them.'
    ]


def _recall(result: OcclusionResult, min_images: int) -> list[str]:
    rows = [row for row in result.instances if row.num_instances >= min_images and not math.isnan(row.recall50)]
    if len(rows) < 2:
        return []
    first, last = rows[0], rows[-1]
    return [
        f'At IoU 0.50, {percent(first.recall50)}% of the {count(first.num_instances)} instances with '
        f'{_sign(first.name)} are found and {percent(last.recall50)}% of the {count(last.num_instances)} with '
        f'{_sign(last.name)} ({result.fraction or "own occlusion f"}).'
    ]


def per_image(row: StratumResult, kind: str) -> float:
    """Detections of a kind (or ``missed`` instances) an image; NaN without images."""
    return getattr(row.errors, kind) / row.num_images if row.errors and row.num_images else math.nan


def listing(words: Sequence[str]) -> str:
    """``'a, b and c'``."""
    return ' and '.join(filter(None, [', '.join(words[:-1]), *words[-1:]]))


def _difference(row: Difference) -> str:
    where = unbroken(stratum_name(row.stratum))
    span = points_interval(row.interval)
    details = ', '.join(filter(None, [span, '' if math.isnan(row.p_value) else f'p {p_value(row.p_value)}']))
    return f'{points(row.difference)} on {where}' + (f' ({details})' if details else '')


def _images(row: StratumResult) -> str:
    return f'{count(row.num_images)} image' + ('' if row.num_images == 1 else 's')


def _described(row: StratumResult) -> str:
    classes = f'{row.num_categories} categor{"y" if row.num_categories == 1 else "ies"}'
    density = amount(row.instances_per_image)
    return f'the {_images(row)} with {_where(row)} ({density} instances an image, {classes})'


def _where(row: StratumResult) -> str:
    return f'the label “{row.stratum.name}”' if row.stratum.kind == 'group' else unbroken(stratum_name(row.stratum))


def unbroken(name: str, length: int = 20) -> str:
    """A short inequality that no line may break."""
    return name.replace(' ', '\N{NO-BREAK SPACE}') if len(name) <= length else name


def _with_interval(row: StratumResult, metric: str, name: str = '') -> str:
    value, span = getattr(row, metric), interval(row.intervals.get(metric))
    if math.isnan(value):
        return 'not defined'
    return f'{percent(value)}%' + (f' ({name}{span})' if span else '')


def _share(errors: Errors, kind: str) -> str:
    share = errors.share(kind)
    return 'none' if math.isnan(share) else f'{100 * share:.0f}%'


def _sign(name: str) -> str:
    return unbroken(fraction_name(name))
