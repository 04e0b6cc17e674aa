"""The report as one HTML file that needs nothing from outside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.text import is_unsafe
from mmhybrid.version import __version__

from ...results import MIN_IMAGES, Comparison, Measure, OcclusionResult
from .. import figures, tables
from ..notes import notes_of
from . import words
from .pictures import COLOURS, OUTLINE, GalleryGroup

WIDTH = 5.0  # of the figures, in inches: two stand side by side, and one is legible on a telephone


def render_report(
    results: Sequence[OcclusionResult],
    comparisons: Sequence[Comparison] = (),
    gallery: Sequence[GalleryGroup] = (),
    title: str | None = None,
    min_images: int = MIN_IMAGES,
) -> str:
    """Everything about some results on one page: the answer, figures, tables, pictures, and how to read them.

    The page fetches nothing, works without JavaScript and in print, and is the same for the same arguments. Parts that
    the results do not hold (intervals, errors, categories, recall by instance) are left out.

    Args:
        results: Any number of models and IoU types on the same images and strata.
        comparisons: Differences between these models.
        gallery: Pictures, see :func:`make_gallery`; groups without images are left out.
        title: By default one with the models' names.
        min_images: Strata with fewer images are marked as too small to conclude from.

    Returns:
        HTML5.

    Raises:
        InputError: No results, two of one model and IoU type, or results and comparisons that do not belong together.
    """
    results, comparisons = list(results), list(comparisons)
    _check(results, comparisons)
    names = list(dict.fromkeys(result.name for result in results))
    iou_types = dict.fromkeys(result.iou_type for result in results)
    return _template().render(
        title=title or _title(results[0].measure, names),
        results=results,
        comparisons=comparisons,
        parts=[_part(iou_type, results, comparisons, min_images) for iou_type in iou_types],
        several=len(names) > 1,
        noted=notes_of(results),
        gallery=[group for group in gallery if group.images],
        images=[image for group in gallery for image in group.images],
        min_images=min_images,
    )


def _part(
    iou_type: str, results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int
) -> dict[str, Any]:
    """What the page says and shows about one IoU type."""
    results = [result for result in results if result.iou_type == iou_type]
    comparisons = [comparison for comparison in comparisons if comparison.iou_type == iou_type]
    name = words.iou_words(iou_type)
    models = words.listing(result.name for result in results)

    def draw(plot: Callable, key: str, title: str, **arguments: Any) -> str:
        made = plot(results, width=WIDTH, **arguments)
        return figures.to_inline(made, f'{iou_type}-{key}', f'{title}: {models}, {name}')

    sheets = [tables.models_sheet(results, min_images)] if len(results) > 1 else []
    sheets += [tables.strata_sheet(result, min_images) for result in results]
    details = [('AP by stratum', words.COLUMNS, [], sheets)]
    if comparisons:
        sheets = [tables.comparison_sheet(each, tables.compared_metrics(each), min_images) for each in comparisons]
        details.append(('Differences between models', '', [], sheets))
    if found := [result for result in results if result.instances]:
        drawn = [
            draw(figures.plot_recall, metric, f'Recall by occlusion of the instance, {iou}', metrics=[metric],
                 min_instances=min_images)
            for metric, iou in figures.RECALLS.items()
        ]  # fmt: skip
        sheets = [tables.instances_sheet(*found, min_images=min_images)]
        details.append(('Recall by the instance’s own occlusion', '', drawn, sheets))
    if wrong := [result for result in results if any(row.errors for row in result.strata)]:
        drawn = [
            draw(figures.plot_errors, part, f'False positives by kind, {unit}', min_images=min_images, parts=[part])
            for part, unit in figures.ERROR_PARTS.items()
        ]
        sheets = [tables.errors_sheet(result, min_images) for result in wrong]
        details.append(('Errors by kind', words.KINDS, drawn, sheets))
    filled = [result for result in results if any(row.categories for row in result.strata)]
    return {
        'identity': f'type-{iou_type}',
        'name': f'{name[:1].upper()}{name[1:]}',
        'headline': words.headline(results, comparisons, min_images),
        'places': [line for each in comparisons if (line := words.places(each, min_images))],
        'ap': [
            draw(figures.plot_ap, family, 'AP in %', min_images=min_images, families=[family])
            for family in figures.ap_families(results)
        ],
        'details': details,
        'categories': tables.every_category_sheet(filled) if filled else None,
    }


def _title(measure: Measure, names: Sequence[str]) -> str:
    subject = 'under occlusion' if measure.definition != 'user' else f'by {measure.name}'
    listed = words.listing(names)
    return f'Detection {subject}: {listed if len(listed) <= 60 else f"{len(names)} models"}'


def _check(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison]) -> None:
    if not results:
        raise InputError('a report needs at least one result; give what evaluate() returns.')

    def strata(result: OcclusionResult) -> tuple:
        return result.measure, [(row.stratum.name, row.num_images, row.num_instances) for row in result.strata]

    first, keys = results[0], set()
    for result in results:
        name, iou_type = key = result.name, result.iou_type
        if key in keys:
            raise InputError(f'two {iou_type} results are called {name!r}; give every model its own name.')
        keys.add(key)
        if strata(result) != strata(first):
            raise InputError(
                f'{name!r} ({iou_type}) and {first.name!r} ({first.iou_type}) are not on the same images and strata; '
                'write one report for each ground truth and measure.'
            )
    for comparison in comparisons:
        for name in (comparison.baseline, comparison.model):
            if (name, comparison.iou_type) not in keys:
                raise InputError(
                    f'a comparison names {name!r} ({comparison.iou_type}), which is not among the results; give its '
                    'result too.'
                )


def _template() -> Any:
    """The page's template. Every value is escaped, and what steers or what HTML forbids becomes a sign for it."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, finalize=_allowed, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals |= {
        'version': __version__, 'words': words, 'css_variables': figures.css_variables, 'resource': _resource,
        'colours': COLOURS, 'outline': OUTLINE,
    }  # fmt: skip
    made.filters |= {
        'signs': lambda name: name.replace(' <= ', ' ≤ ').replace(' >= ', ' ≥ '),
        'base64': lambda data: b64encode(data).decode(),
    }
    return made.from_string(_resource('page.html'))


def _allowed(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, '__html__') or value.isprintable():
        return value
    return ''.join('\ufffd' if _is_forbidden(char) else char for char in value)


def _is_forbidden(char: str) -> bool:
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE or '\ufdd0' <= char <= '\ufdef'
    return is_noncharacter or (is_unsafe(char) and char not in '\t\n')


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding='utf-8')
