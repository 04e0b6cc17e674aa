"""The report as one HTML file that needs nothing from outside."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.text import is_unsafe
from mmhybrid.version import __version__

from ...results import MIN_IMAGES, Comparison, Measure, OcclusionResult, StratumResult
from .. import figures, quality, tables
from ..given import notes_of
from . import words
from .gallery import GalleryGroup
from .pictures import COLOURS, DASHES, FONT_SIZE, OUTLINE

WIDTH = 5.0  # of the figures, in inches: two stand side by side, and one is legible on a telephone


def render_report(
    results: Sequence[OcclusionResult],
    comparisons: Sequence[Comparison] = (),
    gallery: Sequence[GalleryGroup] = (),
    title: str | None = None,
    min_images: int = MIN_IMAGES,
) -> str:
    """Everything about some results on one page of HTML5: the answer, figures, tables, pictures, how to read them.

    It fetches nothing, works without JavaScript and in print, and is the same for the same arguments. Parts that the
    results do not hold (intervals, errors, categories, recall by instance) are left out.

    Args:
        results: Any number of models and IoU types on the same images and strata.
        comparisons: Differences between these models.
        gallery: Pictures, see :func:`.gallery.make_gallery`; groups without images are left out.
        title: By default one with the models' names.
        min_images: Strata with fewer images are marked as too small to conclude from.

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
        untested=len(names) > 1 and not comparisons,
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
    name = f'{words.GEOMETRIES[iou_type]} ({iou_type})'
    models = words.listing(result.name for result in results)

    def draw(plot: Callable, title: str, parts: Mapping[str, str]) -> list[str]:
        return [
            figures.to_inline(
                plot(results, min_images, key and [key], WIDTH),
                f'{iou_type}-{plot.__name__}-{number}',
                f'{title}{part}: {models}, {name}',
            )
            for number, (key, part) in enumerate(parts.items())
        ]

    sheets = [tables.models_sheet(results, min_images)] if len(results) > 1 else []
    sheets += [tables.strata_sheet(result, min_images) for result in results]
    details = [('AP by stratum', [words.CROWDHUMAN if results[0].is_crowdhuman else words.COLUMNS], [], sheets)]
    if comparisons:
        sheets = [tables.comparison_sheet(each, tables.compared_metrics(each), min_images) for each in comparisons]
        told = [line for each in comparisons if (line := words.places(each, min_images))]
        details.append(('Differences between models', told, [], sheets))
    if found := [result for result in results if result.instances]:
        drawn = draw(figures.plot_recall, 'Recall by occlusion of the instance, ', figures.RECALLS)
        sheets = [tables.instances_sheet(*found, min_images=min_images)]
        details.append(('Recall by the instance’s own occlusion', [], drawn, sheets))
    if wrong := [result for result in results if result.all.errors]:
        drawn = draw(figures.plot_errors, 'False positives by kind, ', figures.ERROR_PARTS)
        sheets = [tables.errors_sheet(result, min_images) for result in wrong]
        details.append(('Errors by kind', [words.KINDS], drawn, sheets))
    if strata := figures.miss_rate_strata(results, min_images):
        wanted = {each: f' of {each}' for each in strata} if len(results) > 1 else {None: ''}
        details.append(('Miss rate', [words.MISS_RATES], draw(figures.plot_miss_rate, 'Miss rate', wanted), []))
    if scored := [result for result in results if result.all.quality]:
        drawn = draw(figures.plot_quality, '', figures.QUALITY_PARTS)
        sheets = [quality.scores_sheet(result, min_images) for result in scored]
        sheets += filter(None, (quality.confusions_sheet(result, min_images) for result in scored))
        details.append(('Curves, calibration and confusions', [words.SCORES], drawn, sheets))
    filled = [result for result in results if result.all.categories]
    return {
        'identity': f'type-{iou_type}',
        'name': f'{name[:1].upper()}{name[1:]}',
        'subject': words.GEOMETRIES[iou_type].capitalize(),
        'headline': words.headline(results, comparisons, min_images),
        'places': words.places_in_short(comparisons, min_images),
        'ap': draw(figures.plot_ap, 'AP in %', dict.fromkeys(figures.ap_families(results), '')),
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
    strata = {(result.measure, *map(_identity, result.strata)) for result in results}
    if len(strata) > 1:
        raise InputError('the results are not on the same images and strata; write one report for each.')
    keys = Counter((result.name, result.iou_type) for result in results)
    for (name, iou_type), number in keys.items():
        if number > 1:
            raise InputError(f'two {iou_type} results are called {name!r}; give every model its own name.')
    compared = {(name, each.iou_type) for each in comparisons for name in (each.baseline, each.model)}
    for name, iou_type in sorted(compared - keys.keys()):
        raise InputError(f'a comparison names {name!r} ({iou_type}), which is not among the results; give its result.')


def _identity(row: StratumResult) -> tuple:
    """What a stratum has in common for all models; by KAIST's protocol its instances hang on them."""
    is_fixed = row.stratum.kind != 'instances'
    return row.stratum.name, row.num_images, row.num_instances if is_fixed else None


def _template() -> Any:
    """The page's template. Every value is escaped, and what steers or what HTML forbids becomes a sign for it."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, finalize=_allowed, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals |= {
        'version': __version__, 'words': words, 'css_variables': figures.css_variables, 'resource': _resource,
        'colours': COLOURS, 'dashes': DASHES, 'outline': OUTLINE, 'font_size': FONT_SIZE,
    }  # fmt: skip
    made.filters |= {
        'signs': lambda name: name.replace(' <= ', ' ≤ ').replace(' >= ', ' ≥ '),
        'base64': lambda data: b64encode(data).decode(),
    }
    return made.from_string(_resource('page.html'))


def _allowed(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, '__html__') or value.isprintable():
        return value
    forbidden = {char for char in value if ord(char) & 0xFFFE == 0xFFFE or '\ufdd0' <= char <= '\ufdef'}
    forbidden |= {char for char in value if is_unsafe(char) and char not in '\t\n'}
    return value.translate(dict.fromkeys(map(ord, forbidden), '\ufffd'))


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding='utf-8')
