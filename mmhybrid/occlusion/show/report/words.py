"""Sentences of the report, worked out from the numbers without claiming causes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ...matching.settings import IOU_THRS
from ...results import Comparison, Difference, Interval, Measure, OcclusionResult, StratumResult
from ..figures.style import wrap
from ..numbers import count, interval, is_interval, number, p_value, percent, plural, points
from ..tables import verdict

IOU_TYPES = {'bbox': 'boxes', 'segm': 'masks'}
GEOMETRIES = {'bbox': 'their boxes', 'segm': 'their masks', 'amodal': 'their amodal masks, hidden parts included'}
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
COLUMNS = (
    'AP: COCO average precision over the IoU thresholds. APs, APm, APl: of instances with an area below 32², up to 96² '
    'and above. AR: average recall. inst/img: instances an image. A dash: no ground truth.'
)
KINDS = (
    'Kinds are the first that fits. Duplicate: a detection of higher score took that instance. Confusion: fits an '
    'instance of another class. Partial: IoU from 0.1 up to the threshold with an instance. Background: IoU below 0.1 '
    'with all. Missed: instances that no detection took.'
)
Ends = tuple[StratumResult, StratumResult]


def definition(measure: Measure) -> str:
    """What the strata are made by, in one sentence."""
    if measure.definition not in _DEFINITIONS:
        return f'Images are put into strata by {measure.name}, a property of each image that the user gave.'
    words = _DEFINITIONS[measure.definition].format(GEOMETRIES.get(measure.geometry, measure.geometry))
    return f'The occlusion ratio {measure.name} is {words}.'


def first_and_last(result: OcclusionResult, min_images: int) -> Ends | None:
    """The lowest and the highest stratum of the measure that stand on enough images.

    Bins if two of them do; of the user's groups those of highest and of lowest AP; otherwise whatever strata there are.
    """
    others = [row for row in result.strata if row.stratum.kind != 'all']
    for rows in (result.bins, result.groups, others):
        enough = [row for row in rows if row.num_images >= min_images and not math.isnan(row.ap)]
        if len(enough) >= 2:
            if enough[0].stratum.kind == 'group':
                return max(enough, key=lambda row: row.ap), min(enough, key=lambda row: row.ap)
            enough.sort(key=lambda row: (row.stratum.lower, row.stratum.upper))
            return enough[0], enough[-1]
    return None


def headline(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int) -> list[str]:
    """The answer in a sentence or two, for the models of one IoU type."""
    ends = first_and_last(results[0], min_images)
    if all(math.isnan(result.all.ap) for result in results):
        return ['AP is not defined: the images hold no instances.']
    if len(results) == 1:
        return _alone(results[0], ends, min_images)
    best, second = _ranked(results, results[0].all)[:2]
    sure = _sure(best, second, results[0].all, comparisons, min_images)
    sentences = [f'{short(best.name)} has the highest AP on all images, {_ap(best.all)}{sure}']
    if ends is None:
        sentences.append(_untold(results[0], min_images))
    else:
        place = f'the {plural(ends[1].num_images, "image")} {_where(ends[1])}{_place(results[0], ends[1], min_images)}'
        first, second = _ranked(results, ends[1])[:2]
        again = ' as well' if first is best else ''
        sure = _sure(first, second, ends[1], comparisons, min_images)
        sentences.append(f'On {place}, that is {short(first.name)}{again}, {_ap(_same(first, ends[1]))}{sure}')
    if not comparisons:
        sentences.append(
            'Whether this is more than chance is not known: no paired differences were made (--bootstrap).'
        )
    return sentences


def against(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int) -> list[str]:
    """Which of several models are better and worse than the baseline: on all images, then at the end."""
    kinds = {'better': 'Better than', 'worse': 'Worse than', '': 'Not told apart from'}
    found: dict[str, list[str]] = {}
    for row in (results[0].all, *(first_and_last(results[0], min_images) or ())[1:]):
        for each in comparisons:
            if (own := _row(each, row)) is not None:
                about = f'{kinds[verdict(own, min_images)]} {short(each.baseline)} {_where(row)}'
                value = f'{short(each.model)} {points(own.difference)} {interval(own.interval, points)}'.strip()
                found.setdefault(about, []).append(value)
    return [f'{about}: {", ".join(values)} points.' for about, values in found.items()]


def asides(results: Sequence[OcclusionResult], min_images: int) -> list[str]:
    """Below the answer: how intervals were made, and what differs between the ends of the measure beside it."""
    lines = [f'In brackets: {made}.' for made in dict.fromkeys(map(_intervals, results)) if made]
    ends = first_and_last(results[0], min_images)
    if ends is None:
        return lines
    density = ' and '.join(number(row.instances_per_image) for row in ends)
    categories = ' and '.join(count(row.num_categories) for row in ends)
    where = ' and '.join(map(_where, ends))
    return [*lines, f'Images {where} differ in more than that: {density} instances an image, {categories} categories.']


def evaluated(results: Sequence[OcclusionResult]) -> list[tuple[str, str]]:
    """Files, engine, measure, settings and intervals: pairs of a term and what it is."""
    first = results[0]
    none = 'None were asked for; without them, small differences must not be read as differences'
    return [
        ('Ground truth', listing(result.ground_truth for result in results)),
        *((f'Results of {result.name} ({result.iou_type})', result.detections) for result in results),
        ('Size', size(first)),
        ('Matched by', listing(iou_words(result.iou_type) for result in results)),
        ('Strata by', f'{first.measure.label}. {definition(first.measure)}'),
        ('Intervals', listing(filter(None, map(_intervals, results))) or none),
        ('Settings', listing(map(_settings, results))),
        ('Engine', listing(result.engine for result in results)),
    ]


def _settings(result: OcclusionResult) -> str:
    own = result.settings
    thresholds = '0.50:0.95' if own.iou_thrs == IOU_THRS else listing(f'{each:.2f}' for each in own.iou_thrs)
    parts = [f'IoU {thresholds}', f'at most {plural(own.max_dets, "detection")} an image and category']
    parts += ['any category may match any other (class-agnostic)'] if own.class_agnostic else []
    parts += [f'categories {listing(map(str, own.categories))}'] if own.categories is not None else []
    parts += ['instances marked ignore count like the others'] if result.ignore == 'as-instances' else []
    return '; '.join(parts)


def _intervals(result: OcclusionResult) -> str:
    boot = result.bootstrap
    return '' if boot is None else (
        f'{100 * boot.confidence:g}% intervals from {count(boot.resamples)} bootstrap resamples of the images (seed '
        f'{boot.seed}), the same for every stratum and model'
    )  # fmt: skip


def size(result: OcclusionResult) -> str:
    """``'5,000 images with 36,781 instances'``."""
    return f'{plural(result.all.num_images, "image")} with {plural(result.all.num_instances, "instance")}'


def counts(values: Mapping[str, int]) -> str:
    """``'12 instances, 3 missed'``, without what there is none of."""
    return ', '.join(f'{count(value)} {kind}' for kind, value in values.items() if value)


def iou_words(iou_type: str) -> str:
    """``'boxes (bbox)'``."""
    return f'{IOU_TYPES.get(iou_type, iou_type)} ({iou_type})'


def listing(words: Iterable[str]) -> str:
    """``'a, b and c'``, each once."""
    words = list(dict.fromkeys(words))
    return ' and '.join(filter(None, [', '.join(words[:-1]), *words[-1:]]))


def short(name: str) -> str:
    """A name within a sentence."""
    return wrap(name, 60, 1)


def _alone(result: OcclusionResult, ends: Ends | None, min_images: int) -> list[str]:
    change = _untold(result, min_images) if ends is None else _change(*ends, _place(result, ends[1], min_images))
    return [f'{short(result.name)} has an AP of {_ap(result.all)} on all images.', change]


def _untold(result: OcclusionResult, min_images: int) -> str:
    what = f'how AP changes with {short(result.measure.name)}'
    return f'Fewer than two strata have AP on at least {min_images} images, so {what} is not told.'


def _change(low: StratumResult, high: StratumResult, place: str) -> str:
    """AP at both ends, and how far apart they are."""
    drop = low.ap - high.ap
    if math.isnan(drop):
        change = 'not defined on both'
    elif abs(drop) < 0.0005:
        change = 'the same'
    else:
        change = f'{number(100 * abs(drop))} points {"lower" if drop > 0 else "higher"}'
    a, b = low.intervals.get('ap'), high.intervals.get('ap')
    if is_interval(a) and is_interval(b):
        change += f', and the two intervals {"do not overlap" if a.low > b.high or b.low > a.high else "overlap"}'
    return f'AP is {_ap(low)} {_where(low)} and {_ap(high)} {_where(high)}{place}: {change}.'


def _sure(
    best: OcclusionResult,
    second: OcclusionResult,
    row: StratumResult,
    comparisons: Sequence[Comparison],
    min_images: int,
) -> str:
    """The end of a sentence: how the best model on a stratum compares with the baseline or, if it is that, the next."""
    for each in comparisons:
        turned = each.baseline == best.name
        own = _row(each, row) if each.model == (second.name if turned else best.name) else None
        if own is not None:
            other, value = (each.model, own.model) if turned else (each.baseline, own.baseline)
            words = 'better than' if verdict(own, min_images) else 'the data cannot tell it from'
            return f': {words} {short(other)} ({percent(value)}%), {_difference(own, -1 if turned else 1)}.'
    return f', before {short(second.name)}, {_ap(_same(second, row))}.'


def _row(comparison: Comparison, row: StratumResult) -> Difference | None:
    """The difference in AP on a stratum, if there is one."""
    fit = (own for own in comparison.differences if own.metric == 'ap' and own.stratum == row.stratum)
    return next((own for own in fit if not math.isnan(own.difference)), None)


def _difference(row: Difference, sign: int) -> str:
    """``'+3.0 points [+2.0, +4.2], p = 0.040'``; of the baseline minus the model if the sign is -1."""
    span = Interval(*sorted((sign * row.interval.low, sign * row.interval.high)))
    p = p_value(row.p_value)
    known = [] if math.isnan(row.p_value) else [f'p {p[0]} {p[1:]}' if p.startswith('<') else f'p = {p}']
    return ', '.join([f'{points(sign * row.difference)} points {interval(span, points)}'.strip(), *known])


def _place(result: OcclusionResult, row: StratumResult, min_images: int) -> str:
    quality = 'highest' if result.measure.definition == 'user' else 'most occluded'
    words = {
        'group': f' (the group of lowest AP of {short(result.name)} with at least {min_images} images)',
        'bin': f' (the {quality} bin with at least {min_images} images)',
    }
    return words.get(row.stratum.kind, '')


def _where(row: StratumResult) -> str:
    if row.stratum.kind == 'all':
        return 'on all images'
    if row.stratum.kind == 'group':
        return f'of the group “{short(row.stratum.name)}”'
    name = row.stratum.name.replace('<=', '≤').replace('>=', '≥')
    # No line may break within a short inequality.
    return f'with {short(name).replace(" ", chr(0xA0)) if len(name) <= 20 else short(name)}'


def _ap(row: StratumResult) -> str:
    """``'45.0% [41.9, 47.7]'``."""
    if math.isnan(row.ap):
        return 'not defined'
    return f'{percent(row.ap)}% {interval(row.intervals.get("ap"))}'.strip()


def _same(result: OcclusionResult, row: StratumResult) -> StratumResult:
    return next(own for own in result.strata if own.stratum == row.stratum)


def _ranked(results: Sequence[OcclusionResult], row: StratumResult) -> list[OcclusionResult]:
    """By AP on a stratum, the highest first."""
    values = [_same(result, row).ap for result in results]
    order = sorted(range(len(results)), key=lambda i: (math.isnan(values[i]), -values[i] if values[i] >= 0 else 0))
    return [results[i] for i in order]
