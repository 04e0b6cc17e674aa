"""Sentences of the report, worked out from the numbers without claiming causes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ...results import Comparison, Difference, Interval, Measure, OcclusionResult, StratumResult
from ..figures.style import wrap
from ..notes import settings_of
from ..numbers import count, interval, is_interval, number, p_value, percent, plural, points
from ..tables import verdict

IOU_TYPES = {'bbox': 'boxes', 'segm': 'masks'}
GEOMETRIES = {'bbox': 'boxes', 'segm': 'masks', 'amodal': 'amodal masks, hidden parts included'}
_DEFINITIONS = {
    'covered': 'the share of its total instance area (by {0}) that another instance covers too, from 0 to 1',
    'multi': 'the area that at least two instances cover (by {0}) over the area that any instance covers, from 0 to 1',
    'pairwise': 'the overlap of every two instances (by {0}), summed, over the sum of their areas; it may exceed 1',
    'invisible': 'the share of its total instance area (by {0}) that cannot be seen, from 0 to 1',
    'max-iou': 'the highest IoU of any two instances (by {0}), from 0 to 1',
}
COLUMNS = (
    'AP: COCO average precision over the IoU thresholds. APs, APm, APl: of instances with an area below 32², up to 96² '
    'and above. AR: average recall. inst/img: instances per image. A dash: no ground truth.'
)
KINDS = (
    'A detection is of the first kind that fits. Duplicate: a detection of higher score took that instance. '
    'Confusion: it fits an instance of another class. Partial: IoU from 0.1 up to the threshold with an instance. '
    'Background: IoU below 0.1 with all. Missed: instances that no detection took.'
)
USUAL = 'as in COCO: IoU 0.50:0.95, at most 100 detections per image and category'
Ends = tuple[StratumResult, StratumResult]


def definition(measure: Measure) -> str:
    """What the strata are made by, in one sentence."""
    if measure.definition not in _DEFINITIONS:
        return f'Images are put into strata by {measure.name}, a property of each image that the user gave.'
    what = _DEFINITIONS[measure.definition].format(GEOMETRIES.get(measure.geometry, measure.geometry))
    return f'The occlusion ratio {measure.name} of an image is {what}.'


def first_and_last(result: OcclusionResult, min_images: int) -> Ends | None:
    """The lowest and the highest stratum of the measure that stand on enough images.

    Bins if two of them do; of the user's groups those of highest and of lowest AP; otherwise whatever strata
    leave images out.
    """
    fewer = [row for row in (*result.bins, *result.cumulative) if row.num_images < result.all.num_images]
    for rows in (result.bins, result.groups, fewer):
        enough = [row for row in rows if row.num_images >= min_images and not math.isnan(row.ap)]
        if len(enough) >= 2:
            if enough[0].stratum.kind == 'group':
                return max(enough, key=lambda row: row.ap), min(enough, key=lambda row: row.ap)
            enough.sort(key=lambda row: (row.stratum.lower, row.stratum.upper))
            return enough[0], enough[-1]
    return None


def headline(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int) -> list[str]:
    """The answer in a sentence or two, for the models of one IoU type."""
    first = results[0]
    if all(math.isnan(result.all.ap) for result in results):
        return ['AP is not defined: the images hold no instances.']
    ends = first_and_last(first, min_images)
    what = f'how AP changes with {short(first.measure.name)}'
    untold = f'Fewer than two strata with AP hold at least {min_images} images: too few to say {what}.'
    if len(results) == 1:
        change = _change(*ends, _place(first, ends[1], min_images)) if ends else untold
        return [f'{short(first.name)} has an AP of {_ap(first.all)} on all images.', change]
    best, sure = _best(results, first.all, comparisons, min_images)
    sentences = [f'{short(best.name)} has the highest AP on all images, {_ap(best.all)}{sure}']
    if ends:
        end = ends[1]
        where = f'On the {plural(end.num_images, "image")} {_where(end)}{_place(first, end, min_images)}'
        again, sure = _best(results, end, comparisons, min_images)
        words = f'{short(again.name)}{" as well" if again is best else ""}'
        sentences.append(f'{where}, that is {words}, {_ap(_same(again, end))}{sure}')
    else:
        sentences.append(untold)
    if not comparisons:
        sentences.append(
            'Whether this is more than chance is not known: no paired differences were made (--bootstrap).'
        )
    return sentences


def places(comparison: Comparison, min_images: int) -> str:
    """On which bins, or else groups, of enough images a model differs from the baseline; empty for fewer than two."""
    ap = [row for row in comparison.differences if row.metric == 'ap' and not math.isnan(row.difference)]
    for kind in ('bin', 'group'):
        rows = [row for row in ap if row.stratum.kind == kind and row.num_images >= min_images]
        if len(rows) < 2:
            continue
        found = {'better': [], 'worse': [], '': []}
        for row in rows:
            found[verdict(row, min_images)].append(_name(row))
        better, worse, even = (
            f'{len(names) or "none"}' + (f' ({listing(names)})' if 0 < len(names) <= 3 else '')
            for names in found.values()
        )
        return (
            f'Of the {len(rows)} {kind}s with at least {min_images} images, {short(comparison.model)} is better than '
            f'{short(comparison.baseline)} on {better}, worse on {worse} and not told apart on {even}.'
        )
    return ''


def asides(results: Sequence[OcclusionResult], min_images: int) -> list[str]:
    """Below the answer: how intervals were made, and what differs between the ends of the measure beside it."""
    lines = [f'In brackets: {made}.' for made in dict.fromkeys(map(_intervals, results)) if made]
    ends = first_and_last(results[0], min_images)
    if ends is None:
        return lines
    first, last = (
        f'{_where(row)} hold {number(row.instances_per_image)} instances on average, of '
        f'{plural(row.num_categories, "category", "categories")}'
        for row in ends
    )
    return [*lines, f'Images {first}; those {last}.']


def evaluated(results: Sequence[OcclusionResult]) -> list[tuple[str, str]]:
    """Files, engine, measure, settings and intervals: pairs of a term and what it is."""
    first = results[0]
    none = 'None were asked for; without them, small differences must not be read as differences'
    return [
        ('Ground truth', listing(result.ground_truth for result in results)),
        *((f'Results of {result.name} ({result.iou_type})', result.detections) for result in results),
        ('Strata by', f'{first.measure.label}. {definition(first.measure)}'),
        ('Intervals', listing(filter(None, map(_intervals, results))) or none),
        ('Settings', listing(settings_of(result) or USUAL for result in results)),
        ('Engine', listing(result.engine for result in results)),
    ]


def size(result: OcclusionResult) -> str:
    """``'5,000 images with 36,781 instances'``."""
    return f'{plural(result.all.num_images, "image")} with {plural(result.all.num_instances, "instance")}'


def counts(values: Mapping[str, int]) -> str:
    """``'12 instances, 3 missed'``, without what there is none of."""
    one = {'instances': 'instance'}
    return ', '.join(f'{count(n)} {one.get(kind, kind) if n == 1 else kind}' for kind, n in values.items() if n)


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


def _intervals(result: OcclusionResult) -> str:
    if (boot := result.bootstrap) is None:
        return ''
    return (
        f'{100 * boot.confidence:g}% intervals from {count(boot.resamples)} bootstrap resamples of the images (seed '
        f'{boot.seed}), the same for every stratum and model'
    )


def _change(low: StratumResult, high: StratumResult, place: str) -> str:
    """AP at both ends, and how far apart they are."""
    drop = low.ap - high.ap
    change = (
        f'{number(100 * abs(drop))} points {"lower" if drop > 0 else "higher"}' if abs(drop) >= 0.0005 else 'the same'
    )
    a, b = low.intervals.get('ap'), high.intervals.get('ap')
    if is_interval(a) and is_interval(b):
        change += f', and the two intervals {"do not overlap" if a.low > b.high or b.low > a.high else "overlap"}'
    return f'AP is {_ap(low)} {_where(low)} and {_ap(high)} {_where(high)}{place}: {change}.'


def _best(
    results: Sequence[OcclusionResult], row: StratumResult, comparisons: Sequence[Comparison], min_images: int
) -> tuple[OcclusionResult, str]:
    """The model of highest AP on a stratum, and how it compares with the baseline or, if it is that, the next."""
    aps = {result.name: _same(result, row).ap for result in results}
    ranked = sorted(results, key=lambda result: math.inf if math.isnan(aps[result.name]) else -aps[result.name])
    best, second = ranked[:2]
    for each in comparisons:
        turned = each.baseline == best.name
        own = _row(each, row) if each.model == (second.name if turned else best.name) else None
        if own is not None:
            other, value = (each.model, own.model) if turned else (each.baseline, own.baseline)
            words = 'better than' if verdict(own, min_images) else 'the data cannot tell it from'
            return best, f': {words} {short(other)} ({percent(value)}%), {_difference(own, -1 if turned else 1)}.'
    return best, f', before {short(second.name)}, {_ap(_same(second, row))}.'


def _row(comparison: Comparison, row: StratumResult) -> Difference | None:
    """The difference in AP on a stratum, if there is one."""
    fit = (own for own in comparison.differences if own.metric == 'ap' and own.stratum == row.stratum)
    return next((own for own in fit if not math.isnan(own.difference)), None)


def _difference(row: Difference, sign: int) -> str:
    """``'+3.0 points [+2.0, +4.2], p = 0.040'``; of the baseline minus the model if the sign is -1."""
    span = Interval(*sorted((sign * row.interval.low, sign * row.interval.high)))
    text = f'{points(sign * row.difference)} points {_whole(interval(span, points))}'.strip()
    p = p_value(row.p_value)
    known = f'p < {p[1:]}' if p.startswith('<') else f'p = {p}'
    return text if math.isnan(row.p_value) else f'{text}, {_whole(known)}'


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
    return f'of the group {_name(row)}' if row.stratum.kind == 'group' else f'with {_name(row)}'


def _name(row: StratumResult | Difference) -> str:
    name = short(row.stratum.name.replace('<=', '≤').replace('>=', '≥'))
    if row.stratum.kind == 'group':
        return f'“{name}”'
    return _whole(name) if len(name) <= 20 else name


def _whole(text: str) -> str:
    """Text within which no line may break."""
    return text.replace(' ', '\N{NO-BREAK SPACE}')


def _ap(row: StratumResult) -> str:
    """``'45.0% [41.9, 47.7]'``."""
    if math.isnan(row.ap):
        return 'not defined'
    return f'{percent(row.ap)}% {_whole(interval(row.intervals.get("ap")))}'.strip()


def _same(result: OcclusionResult, row: StratumResult) -> StratumResult:
    return next(own for own in result.strata if own.stratum == row.stratum)
