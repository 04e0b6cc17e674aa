"""The parts of the report, in the order in which they are read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from ...results import Comparison, Errors, OcclusionResult
from . import charts, tables, wording
from .charts import Line
from .gallery import GalleryGroup, GalleryImage
from .marks import ap_point, errors_bar, families, family_words, recall_point, sparse, ticks_of
from .markup import Markup, join, tag
from .numbers import amount, count, fraction_name, short_name
from .palette import PICTURE
from .wording import IOU_TYPES, KIND_NAMES


def evaluated(results: Sequence[OcclusionResult]) -> Markup:
    """Files, engine, measure and intervals."""
    first = results[0]
    files: dict[str, dict[str, list[str]]] = {}
    for result in results:
        files.setdefault(result.name, {}).setdefault(result.detections, []).append(result.iou_type)
    pairs: list[tuple[str, object]] = [('Ground truth', wording.listing(_unique(r.ground_truth for r in results)))]
    for name, own in files.items():
        pairs.append((f'Results of {name}', '; '.join(f'{path} ({", ".join(types)})' for path, types in own.items())))
    everything = [row for row in first.strata if row.stratum.kind == 'all']
    pairs += [
        ('Size', f'{count(row.num_images)} images with {count(row.num_instances)} instances') for row in everything
    ]
    pairs += [
        ('Matched by', wording.listing([_iou_words(t) for t in _unique(r.iou_type for r in results)])),
        ('Strata by', f'{first.measure.label}. {wording.definition(first.measure)}'),
        ('Intervals', ' '.join(_unique(wording.bootstrap_settings(result.bootstrap) for result in results))),
        ('Engine', wording.listing(_unique(result.engine for result in results))),
    ]
    cells = join([join([tag('dt', name), tag('dd', value)]) for name, value in pairs])
    return join([tag('h2', 'What was evaluated', id='evaluated'), tag('dl', cells)])


def in_short(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int) -> Markup:
    """The summary in sentences, by IoU type and model."""
    ends = wording.first_and_last(results[0], min_images)
    parts = [tag('p', sentence) for sentence in wording.strata_compared(results[0], min_images)]
    for iou_type in _unique(result.iou_type for result in results):
        own = [result for result in results if result.iou_type == iou_type]
        parts.append(tag('h3', _iou_words(iou_type).capitalize()))
        told = [(result.name, wording.summary(result, ends, min_images)) for result in own]
        if len(own) == 1:
            entries = [tag('li', sentence) for sentence in told[0][1]]
        else:
            entries = [tag('li', tag('strong', name), ': ', ' '.join(sentences)) for name, sentences in told]
        for comparison in comparisons:
            if comparison.iou_type == iou_type:
                entries += [tag('li', sentence) for sentence in wording.differences(comparison, ends or ())]
        parts.append(tag('ul', *entries))
    return tag('section', tag('h2', 'In short', id='short'), *parts, class_='short')


def ap_figures(results: Sequence[OcclusionResult], min_images: int, identity: str) -> Markup:
    """AP against the measure: one chart for bins, one for cumulative strata, one for what cannot be joined."""
    figures = []
    for number, (family, rows) in enumerate(families(results[0])):
        numeric = family == 'cumulative'
        ticks = ticks_of(results[0], rows, numeric)
        lines = [
            Line(r.name, [ap_point(r.strata[i], r.name, x, min_images) for i, (x, _) in zip(rows, ticks, strict=True)])
            for r in results
        ]
        title, axis = family_words(family, results[0])
        axes = (axis, 'AP (%)')
        chart = charts.line_chart(
            lines, sparse(ticks), f'{title}, AP in %', axes, f'{identity}-ap-{number}', family != 'group'
        )
        figures.append(tag('figure', tag('h4', title), chart))
    legend = _model_legend([result.name for result in results])
    note = f'Hollow: fewer than {min_images} images.'
    if any(result.bootstrap for result in results):
        note = f'Bands and whiskers: {_confidence(results)} bootstrap intervals. {note}'
    return join([legend, tag('div', *figures, class_='charts'), tag('p', note, class_='note')])


def recall(results: Sequence[OcclusionResult], min_images: int, identity: str) -> Markup | None:
    """Recall by the instances' own occlusion: figure and table."""
    results = [result for result in results if result.instances]
    if not results:
        return None
    if len(results) == 1:
        fields = {'recall50': 'IoU 0.50', 'recall75': 'IoU 0.75', 'recall': 'mean over IoU 0.50:0.95'}
        chosen = [(title, results[0], key) for key, title in fields.items()]
        axis = 'recall (%)'
    else:
        chosen = [(result.name, result, 'recall50') for result in results]
        axis = 'recall at IoU 0.50 (%)'
    ticks = [
        (float(x), short_name(part.lower, part.upper, fraction_name(part.name)))
        for x, part in enumerate(results[0].instances)
    ]
    lines = [
        Line(title, [recall_point(p, title, x, key, min_images) for x, p in enumerate(r.instances)])
        for title, r, key in chosen
    ]
    fraction = results[0].fraction or 'own occlusion f of the instance'
    chart = charts.line_chart(lines, ticks, f'Recall by {fraction}', (fraction, axis), f'{identity}-recall')
    return join([
        _model_legend([title for title, _, _ in chosen]),
        tag('div', tag('figure', chart), class_='charts'),
        tables.recall_table(results, min_images, f'{identity}-recall-table'),
    ])  # fmt: skip


def errors(results: Sequence[OcclusionResult], min_images: int, identity: str) -> Markup | None:
    """False positives by kind: one chart a model on the same axis, and tables."""
    results = [result for result in results if any(row.errors is not None for row in result.strata)]
    if not results:
        return None
    family, rows = next(iter(families(results[0])), ('group', list(range(len(results[0].strata)))))
    highest = max(errors_bar(result.strata[i], min_images).height for result in results for i in rows)
    _, axis = family_words(family, results[0])
    labels = [label for _, label in ticks_of(results[0], rows, False)]
    figures, written = [], []
    for number, result in enumerate(results):
        for name, unit, top, is_share in (
            ('an image', 'false positives an image', highest, False),
            ('as shares', 'share of the false positives (%)', 100.0, True),
        ):
            bars = [errors_bar(result.strata[i], min_images, is_share) for i in rows]
            title = f'{result.name}: false positives {name}, by kind'
            identity_here = f'{identity}-errors-{number}-{"share" if is_share else "image"}'
            chart = charts.stacked_chart(bars, labels, title, (axis, unit), identity_here, top)
            figures.append(tag('figure', tag('h4', f'{result.name}, {name}'), chart))
        written.append(tables.errors_table(result, min_images, f'{identity}-errors-table-{number}'))
    entries = [tag('li', charts.kind_key(kind), KIND_NAMES[kind]) for kind in reversed(Errors.KINDS)]
    setting = next(row.errors for row in results[0].strata if row.errors is not None)
    explanation = (
        f'Kinds at IoU {setting.iou_thr:g} with score at least {setting.min_score:g}, the first that fits. Duplicate: '
        'a detection of higher score took that instance. Wrong class: fits an instance of another class. Poorly '
        f'localised: IoU from 0.1 to below {setting.iou_thr:g} with an instance. Background: IoU below 0.1 with all. '
        'Paler bars stand on few images.'
    )
    legend = tag('ul', *entries, class_='legend')
    return join([
        tag('p', explanation, class_='note'), legend, tag('div', *figures, class_='charts'), *written,
    ])  # fmt: skip


def categories(results: Sequence[OcclusionResult], identity: str) -> Markup | None:
    """Metrics per category with a choice of stratum."""
    results = [result for result in results if any(row.categories for row in result.strata)]
    if not results:
        return None
    table, strata = tables.category_table(results, f'{identity}-categories')
    options = [tag('option', name, value=i) for i, name in enumerate(strata)]
    what = 'Filter by category or model' if len(results) > 1 else 'Filter by category'
    controls = tag(
        'div',
        tag('label', 'Stratum', tag('select', *options, autocomplete='off')),
        tag('label', what, tag('input', type='search', autocomplete='off')),
        tag('output'),
        class_='controls',
        hidden=True,
    )
    return tag('div', controls, table, class_='categories')


def gallery(groups: Sequence[GalleryGroup]) -> Markup | None:
    """Pictures, by stratum."""
    if not groups:
        return None
    dashed = {'missed': '5 3'}
    names = {
        'found': 'ground truth, found', 'missed': 'ground truth, missed', 'true_positive': 'right detection',
    } | KIND_NAMES  # fmt: skip
    entries = []
    for kind, colour in PICTURE.items():
        frame = {'x': 3, 'y': 3, 'width': 20, 'height': 10, 'fill': 'none'}
        lines = [
            tag('rect', x=0, y=0, width=26, height=16, fill='#101418'),
            tag('rect', **frame, stroke=colour, stroke_width=2.5, stroke_dasharray=dashed.get(kind)),
        ]
        key = tag('svg', *lines, class_='picture-key', viewBox='0 0 26 16', aria_hidden='true')
        entries.append(tag('li', key, names[kind]))
    parts = [
        tag(
            'p',
            'The images that cost each stratum most. An image’s cost is the AP of the stratum without it less the AP '
            'with it.',
        ),
        tag('ul', *entries, class_='legend'),
    ]
    if any(image.outside for group in groups for image in group.images):
        sentence = 'Image files outside of the folder of the images were not opened; to have them here, give that'
        parts.append(
            tag('p', f'{sentence} folder in which the files themselves lie, not links to them.', class_='note')
        )
    seen: dict[bytes, str] = {}
    for group in groups:
        words = [fraction_name(group.stratum), group.model, IOU_TYPES.get(group.iou_type, group.iou_type)]
        shown = group.images
        parts.append(tag('h3', ', '.join(filter(None, words))))
        if any(image.picture or image.outside for image in shown):
            parts.append(tag('div', *(_picture(image, seen) for image in shown), class_='pictures'))
        else:
            parts.append(tag('p', 'The image files were not at hand:' if shown else 'No images.', class_='note'))
            parts += [tag('ul', *(tag('li', *_caption(image)) for image in shown))] if shown else []
    return join(parts)


def _picture(image: GalleryImage, seen: dict[bytes, str]) -> Markup:
    """A picture with its caption; one that stands on the page already (``seen``: picture -> id) is linked to."""
    name = None
    if image.picture and image.picture in seen:
        link = tag('a', 'Shown above.', href=f'#{seen[image.picture]}')
        shown = tag('div', link, class_='absent')
    elif image.picture:
        name = seen.setdefault(image.picture, f'picture-{len(seen) + 1}')
        source = f'data:image/jpeg;base64,{b64encode(image.picture).decode()}'
        alt = f'{image.file_name or image.image_id} with ground truth and detections'
        shown = tag('img', src=source, alt=', '.join(filter(None, [alt, _counts(image)])))
    else:
        where = 'lies outside of the folder of the images' if image.outside else 'was not at hand'
        shown = tag('div', f'The image file {where}.', class_='absent')
    return tag('figure', shown, tag('figcaption', *_caption(image)), id=name)


def _caption(image: GalleryImage) -> list[object]:
    cost = f' (id {image.image_id}) costs {amount(100 * image.cost, 2)} points of AP'
    return [
        tag('strong', image.file_name or f'image {image.image_id}'),
        ': '.join(filter(None, [cost, _counts(image)])),
    ]


def _counts(image: GalleryImage) -> str:
    return ', '.join(f'{count(value)} {KIND_NAMES.get(name, name)}' for name, value in image.counts.items() if value)


def _model_legend(names: Sequence[str]) -> Markup:
    return tag('ul', *(tag('li', charts.key(i), name) for i, name in enumerate(names)), class_='legend')


def _confidence(results: Sequence[OcclusionResult]) -> str:
    return ' and '.join(_unique(f'{100 * r.bootstrap.confidence:g}%' for r in results if r.bootstrap))


def _iou_words(iou_type: str) -> str:
    return IOU_TYPES.get(iou_type, iou_type) + f' ({iou_type})'


def _unique(values) -> list[str]:
    return list(dict.fromkeys(values))
