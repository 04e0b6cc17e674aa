"""Sentences of the report, worked out from the numbers without claiming causes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from mmhybrid.figure_style import wrap
from mmhybrid.text import plural

from ...results import Bootstrap, Comparison, Difference, Interval, Measure, OcclusionResult, StratumResult
from ..given import BRACKETS, intervals, settings_of
from ..numbers import ERRORS, METRIC_LABELS, count, interval, number, p_value, percent, points
from ..sheet import differences, first_and_last, in_parts, size_of, sizes_of_all, unit_of
from ..tables import verdict

GEOMETRIES = {'bbox': 'boxes', 'segm': 'masks', 'amodal': 'amodal masks, hidden parts included'}
_DEFINITIONS = {
    'covered': 'the share of its total instance area (by {0}) that another instance covers too, from 0 to 1',
    'multi': 'the area that at least two instances cover (by {0}) over the area that any instance covers, from 0 to 1',
    'pairwise': 'the overlap of every two instances (by {0}), summed, over the sum of their areas; it may exceed 1',
    'invisible': 'the share of its total instance area (by {0}) that cannot be seen, from 0 to 1',
    'mean-hidden': 'the mean hidden share of its instances as annotated, from 0 to 1',
    'max-hidden': 'the largest hidden share of its instances as annotated, from 0 to 1',
    'max-iou': 'the highest IoU of any two instances (by {0}), from 0 to 1',
}
COLUMNS = (
    'AP: COCO average precision over the IoU thresholds. APs, APm, APl: of instances with an area below 32², up to 96² '
    'and above. AR: average recall. inst/img: instances per image. A dash: no ground truth.'
)
CROWDHUMAN = (
    "AP, MR^-2 and JI are CrowdHuman's. JI: the mean over the images of k / (m + n - k), with k detections paired with "
    'instances of m and n of these two, above the score of which it is highest. inst/img: instances per image.'
)
KINDS = (
    'A detection is of the first kind that fits. True positive (TP): it took an instance. The false positives (FP): '
    'duplicate, a detection of higher score took that instance; confusion, it fits an instance of another class; '
    'partial, its IoU with an instance is from 0.1 up to the threshold; background, its IoU with all is below 0.1. '
    'Missed are instances that no detection took. In the terms of TIDE, confusion is a classification error, partial '
    'is a localisation error or, with another class, both.'
)
MISS_RATES = (
    'MR^-2 is the geometric mean of the miss rate at nine rates of false positives, from 0.01 to 1 an image (the '
    'marks); less is better. Miss rates below 0.5% are drawn at 0.5%. Shown are strata whose MR^-2 differs.'
)
SCORES = (
    'On the diagonal, the score of a detection is the probability that it is right; above it, detections are better '
    'than their scores. Shown are strata whose best F1 differs; bands are intervals.'
)
USUAL = 'as in COCO: IoU 0.50:0.95, at most 100 detections per image and category'
UNTESTED = 'Whether this is more than chance is not known: no paired differences were made (--bootstrap).'


def headline(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int) -> list[str]:
    """The answer in a sentence or two, for the models of one IoU type."""
    first, is_one = sizes_of_all(results), len(results) == 1
    if all(math.isnan(result.all.ap) for result in results):
        return ['AP is not defined: the images hold no instances.']
    asked, lines = [('ap', first.all, f'on all {_unit(first)}')], []
    if of_instances := first.of_kind('instances'):  # a benchmark's first stratum is the one that it ranks by
        row, place = (first.all, asked[0][2]) if first.is_crowdhuman else (of_instances[0], _where(of_instances[0]))
        asked[:0] = [] if math.isnan(row.mr) else [('mr', row, place)]
    for metric, row, place in asked:
        if is_one:
            lines.append(f'{short(first.name)} has an {METRIC_LABELS[metric]} of {_value(row, metric)} {place}.')
        else:
            lines.append(_best(results, row, place, comparisons, min_images, metric))
    if (ends := first_and_last(first, min_images)) is None:
        lines.append(
            f'Fewer than two strata with AP hold at least {_least(min_images, units(first))}: too few to say '
            f'how AP changes with {short(first.measure.name)}.'
        )
    else:
        low, high = ends
        place = f'{_where(high)}{_choice(first, high, min_images)}'
        if is_one:
            rise = high.ap - low.ap
            change = f'{number(100 * abs(rise))} points {"lower" if rise < 0 else "higher"}'
            change = change if abs(rise) >= 0.0005 else 'the same'
            lines.append(f'AP is {_value(low)} {_where(low)} and {_value(high)} {place}: {change}.')
        else:
            place = f'on the {plural(size_of(high), unit_of(high)[:-1])} {place}'
            lines.append(_best(results, high, place, comparisons, min_images))
    return lines


def places(comparison: Comparison, min_images: int) -> str:
    """On which bins, or else groups or strata of instances, on enough images a model differs from the baseline; empty
    for fewer than two."""
    name, rows = in_parts(comparison, min_images)
    if not rows:
        return ''
    told = []
    for word in ('better', 'worse', ''):
        names = [_name(row) for row in rows if verdict(row, min_images) == word]
        told.append(f'{len(names) or "none"}' + (f' ({listing(names)})' if 0 < len(names) <= 3 else ''))
    least = _least(min_images, unit_of(rows[0]))
    return (
        f'Of the {len(rows)} {name} with at least {least}, {short(comparison.model)} is better '
        f'than {short(comparison.baseline)} on {told[0]}, worse on {told[1]} and not told apart on {told[2]}.'
    )


def places_in_short(comparisons: Sequence[Comparison], min_images: int) -> str:
    """:func:`places` of one comparison, or a sentence of the same length on any number of them."""
    comparisons = [each for each in comparisons if places(each, min_images)]
    if len(comparisons) < 2:
        return ''.join(places(each, min_images) for each in comparisons)
    found = []
    for each in comparisons:
        kind, rows = in_parts(each, min_images)
        found.append({verdict(row, min_images) for row in rows})
    better, worse = (sum(word in own for own in found) for word in ('better', 'worse'))
    neither = sum(own == {''} for own in found)
    return (
        f'Against {short(comparisons[0].baseline)}, on the {len(rows)} {kind} with at least '
        f'{_least(min_images, unit_of(rows[0]))}: {better} of {len(found)} models better somewhere, {worse} worse '
        f'somewhere, {neither} told apart nowhere.'
    )


def asides(results: Sequence[OcclusionResult], min_images: int) -> list[str]:
    """Below the figure: how intervals were made, and what differs between the ends of the measure beside it."""
    lines = [f'{BRACKETS}: {made}.' for made in dict.fromkeys(map(intervals, _bootstraps(results)))]
    ends = first_and_last(results[0], min_images)
    if ends and ends[0].stratum.kind != 'instances':
        first, last = (
            f'{_where(row)} hold {number(row.instances_per_image)} instances on average, of '
            f'{plural(row.num_categories, "category", "categories")}'
            for row in ends
        )
        lines.append(f'Images {first}; those {last}.')
    return lines


def evaluated(results: Sequence[OcclusionResult]) -> list[tuple[str, str]]:
    """Files, engine, measure, settings and intervals: pairs of a term and what it is."""
    measure = results[0].measure
    made = listing(f'{intervals(boot)} (seed {boot.seed})' for boot in _bootstraps(results))
    return [
        ('Ground truth', listing(result.ground_truth for result in results)),
        *((f'Results of {result.name} ({result.iou_type})', result.detections) for result in results),
        ('Strata by', f'{measure.label}. {definition(measure)}'),
        ('Intervals', made or 'None were asked for; without them, small differences must not be read as differences'),
        ('Settings', listing(settings_of(result) or USUAL for result in results)),
        ('Engine', listing(result.engine for result in results)),
    ]


def definition(measure: Measure) -> str:
    """What the strata are made by, in one sentence."""
    if measure.definition == 'instances':
        return 'Strata are of instances: on each, all others are ignore regions, which count neither way.'
    if measure.definition not in _DEFINITIONS:
        return f'Images are put into strata by {measure.name}, a property of each image that the user gave.'
    what = _DEFINITIONS[measure.definition].format(GEOMETRIES.get(measure.geometry, ''))
    return f'The occlusion ratio {measure.name} of an image is {what}.'


def size(result: OcclusionResult) -> str:
    """``'5,000 images with 36,781 instances'``."""
    return f'{plural(result.all.num_images, "image")} with {plural(result.all.num_instances, "instance")}'


def units(result: OcclusionResult) -> str:
    """What strata must have enough of: ``'images'``, ``'instances'`` or ``'images or instances'``."""
    return ' or '.join(sorted({unit_of(row) for row in result.strata if row.stratum.kind != 'all'})) or 'images'


def counts(values: Mapping[str, int]) -> str:
    """``'12 instances, 3 missed'``, without what there is none of."""
    found = ((kind, n) for kind, n in values.items() if n)
    return ', '.join(plural(n, 'instance') if kind == 'instances' else f'{count(n)} {kind}' for kind, n in found)


def listing(words: Iterable[str]) -> str:
    """``'a, b and c'``, each once."""
    words = list(dict.fromkeys(words))
    return ' and '.join(filter(None, [', '.join(words[:-1]), *words[-1:]]))


def short(name: str) -> str:
    """A name within a sentence."""
    return wrap(name, 40, 1)


def _best(
    results: Sequence[OcclusionResult],
    row: StratumResult,
    place: str,
    comparisons: Sequence[Comparison],
    least: int,
    metric: str = 'ap',
) -> str:
    """The best model on a stratum, and how it compares with the baseline or, if it is that, the next."""
    sign, ends = (1, 'lowest') if metric in ERRORS else (-1, 'highest')
    rows = {result.name: next(own for own in result.strata if _is_of(own, row)) for result in results}
    values = {name: sign * getattr(own, metric) for name, own in rows.items()}
    best, second = sorted(rows, key=lambda name: math.inf if math.isnan(values[name]) else values[name])[:2]
    told = f'{short(best)} has the {ends} {METRIC_LABELS[metric]} {place}, {_value(rows[best], metric)}'
    for each in comparisons:
        turned = each.baseline == best
        own = next((own for own in differences(each, metric) if _is_of(own, row)), None)
        if own and each.model == (second if turned else best):
            other, value = (each.model, own.model) if turned else (each.baseline, own.baseline)
            words = 'better than' if verdict(own, least) else 'the data cannot tell it from'
            return f'{told}: {words} {short(other)} ({percent(value)}%), {_difference(own, -1 if turned else 1)}.'
    return f'{told}, before {short(second)}, {_value(rows[second], metric)}.'


def _is_of(own: StratumResult | Difference, row: StratumResult) -> bool:
    """Whether both are of one stratum. By its name: NaN, as of bounds that were read back, equals nothing."""
    return own.stratum.name == row.stratum.name


def _difference(row: Difference, sign: int) -> str:
    """``'+3.0 points [+2.0, +4.2], p = 0.040'``; of the baseline minus the model if the sign is -1."""
    span = Interval(*sorted((sign * row.interval.low, sign * row.interval.high)))
    text = f'{points(sign * row.difference)} points {_whole(interval(span, points))}'.strip()
    p = p_value(row.p_value)
    known = f'p < {p[1:]}' if p.startswith('<') else f'p = {p}'
    return text if math.isnan(row.p_value) else f'{text}, {_whole(known)}'


def _choice(result: OcclusionResult, row: StratumResult, min_images: int) -> str:
    """Why this stratum."""
    quality = 'highest' if result.measure.definition == 'user' else 'most occluded'
    lowest = f'of lowest AP of {short(result.name)}'
    which = {'group': f'the group {lowest}', 'instances': f'the one {lowest}', 'bin': f'the {quality} bin'}
    kind = row.stratum.kind
    return f' ({which[kind]} with at least {_least(min_images, unit_of(row))})' if kind in which else ''


def _where(row: StratumResult) -> str:
    what = {'group': 'of the group', 'instances': 'of the stratum'}.get(row.stratum.kind, 'with')
    return f'{what} {_name(row)}'


def _least(number: int, units: str) -> str:
    """``'10 images'``, ``'1 image or instance'``."""
    return f'{number} {units.replace("images", "image").replace("instances", "instance") if number == 1 else units}'


def _unit(result: OcclusionResult) -> str:
    return 'instances' if result.measure.definition == 'instances' else 'images'


def _name(row: StratumResult | Difference) -> str:
    name = short(row.stratum.name.replace('<=', '≤').replace('>=', '≥'))
    if row.stratum.kind in ('group', 'instances'):
        return f'“{name}”'
    return _whole(name) if len(name) <= 20 else name


def _whole(text: str) -> str:
    """Text within which no line may break."""
    return text.replace(' ', '\N{NO-BREAK SPACE}')


def _value(row: StratumResult, metric: str = 'ap') -> str:
    """``'45.0% [41.9, 47.7]'``."""
    if math.isnan(value := getattr(row, metric)):
        return 'not defined'
    return f'{number(100 * value, 2 if metric == "mr" else 1)}% {_whole(interval(row.intervals.get(metric)))}'.strip()


def _bootstraps(results: Iterable[OcclusionResult]) -> list[Bootstrap]:
    return list(dict.fromkeys(result.bootstrap for result in results if result.bootstrap is not None))
