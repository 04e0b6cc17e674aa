"""The report as one HTML file that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from os import PathLike
from pathlib import Path

from mmhybrid.errors import InputError
from mmhybrid.version import __version__

from ...results import MIN_IMAGES, Comparison, Measure, OcclusionResult
from . import palette, reading, sections, tables, wording
from .gallery import GalleryGroup
from .marks import families
from .markup import Markup, join, tag

# Forbids the page to fetch anything, whatever it holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def render_report(
    results: Sequence[OcclusionResult],
    comparisons: Sequence[Comparison] = (),
    gallery: Sequence[GalleryGroup] = (),
    title: str | None = None,
    notes: Sequence[str] = (),
    min_images: int = MIN_IMAGES,
) -> str:
    """Everything about some results on one page: summary, figures, tables, pictures, and how to read them.

    The page fetches nothing, works without JavaScript and in print, and is the same for the same arguments. Parts that
    the results do not hold (intervals, errors, categories, recall by instance) are left out.

    Args:
        results: Any number of models and IoU types on the same images and strata.
        comparisons: Differences between these models.
        gallery: Pictures, see :func:`draw_gallery_image`.
        title: By default one with the models' names.
        notes: Paragraphs of plain text, shown below the title.
        min_images: Strata with fewer images are marked as too small to conclude from.

    Returns:
        HTML5.

    Raises:
        InputError: No results, two of one model and IoU type, or results and comparisons that do not belong together.
    """
    results, comparisons = list(results), list(comparisons)
    _check(results, comparisons)
    notes = [notes] if isinstance(notes, str) else notes
    iou_types = list(dict.fromkeys(result.iou_type for result in results))
    names = list(dict.fromkeys(result.name for result in results))
    title = title or _title(results[0].measure, names)
    pictures = sections.gallery(gallery)
    links = [('short', 'In short'), ('evaluated', 'What was evaluated')]
    links += [(iou_type, wording.IOU_TYPES.get(iou_type, iou_type).capitalize()) for iou_type in iou_types]
    links += [('gallery', 'Images')] if pictures is not None else []
    links.append(('reading', 'How to read this'))
    main = tag(
        'main',
        tag('h1', title),
        *(tag('p', note) for note in notes),
        tag('nav', tag('ul', *(tag('li', tag('a', name, href=f'#{at}')) for at, name in links)), aria_label='Contents'),
        sections.in_short(results, comparisons, min_images),
        sections.evaluated(results),
        *(_of_iou_type(iou_type, results, comparisons, min_images) for iou_type in iou_types),
        None if pictures is None else join([tag('h2', 'Images', id='gallery'), pictures]),
        tag('h2', 'How to read this', id='reading'),
        reading.advice(results, comparisons, min_images),
    )
    head = tag(
        'head',
        tag('meta', charset='utf-8'),
        tag('meta', http_equiv='Content-Security-Policy', content=POLICY),
        tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', name='generator', content=f'mmhybrid {__version__}'),
        tag('title', title),
        tag('style', Markup(palette.css() + _resource('style.css'))),
    )
    footer = tag('footer', tag('p', f'Made with mmhybrid {__version__}. This file fetches nothing from elsewhere.'))
    body = tag('body', main, footer, tag('script', Markup(_resource('script.js'))))
    return f'<!DOCTYPE html>\n{tag("html", head, body, lang="en")}\n'


def write_report(results: Sequence[OcclusionResult], path: str | PathLike[str], **arguments: object) -> None:
    """Write :func:`render_report`, which takes the other arguments, into a file.

    Raises:
        InputError: As there, or the file cannot be written.
    """
    page = render_report(results, **arguments)
    try:
        Path(path).write_text(page, encoding='utf-8', newline='\n')
    except OSError as error:
        raise InputError(f'{Path(path)}: cannot be written ({error}); give a path in a folder that exists.') from None


def _title(measure: Measure, names: Sequence[str]) -> str:
    subject = 'under occlusion' if measure.definition != 'user' else f'by {measure.name}'
    listed = wording.listing(names)
    return f'Detection {subject}: {listed if len(listed) <= 60 else f"{len(names)} models"}'


def _of_iou_type(
    iou_type: str, results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int
) -> Markup:
    results = [result for result in results if result.iou_type == iou_type]
    comparisons = [comparison for comparison in comparisons if comparison.iou_type == iou_type]
    identity = f'i-{iou_type}'
    measure = results[0].measure
    words = wording.IOU_TYPES.get(iou_type, iou_type)
    parts = [tag('h2', f'{words.capitalize()} ({iou_type})', id=iou_type)]
    if families(results[0]):
        parts += [tag('h3', f'AP against {measure.name}'), sections.ap_figures(results, min_images, identity)]
    parts.append(tag('h3', 'Strata'))
    for i, result in enumerate(results):
        parts.append(tables.strata_table(result, min_images, f'{identity}-strata-{i}'))
    parts.append(tag('p', reading.columns(results), class_='note'))
    if comparisons:
        parts.append(tag('h3', 'Differences between models'))
    for i, comparison in enumerate(comparisons):
        parts.append(tables.comparison_table(comparison, min_images, f'{identity}-comparison-{i}'))
        settings = wording.multiplicity(len(comparison.differences), comparison.bootstrap.confidence)
        parts.append(tag('p', settings, class_='note'))
    for heading, part in (
        ('Recall by the instance’s own occlusion', sections.recall(results, min_images, identity)),
        ('False positives by kind', sections.errors(results, min_images, identity)),
        ('Categories', sections.categories(results, identity)),
    ):
        if part is not None:
            parts += [tag('h3', heading), part]
    return join(parts, '\n')


def _check(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison]) -> None:
    if not results:
        raise InputError('a report needs at least one result; give what evaluate() returns.')
    first, keys = results[0], set()
    for result in results:
        key = result.iou_type, result.name
        if key in keys:
            raise InputError(
                f'two {result.iou_type} results are called {result.name!r}; give every model its own name.'
            )
        keys.add(key)
        images = [(row.stratum.name, row.num_images, row.num_instances) for row in result.strata]
        expected = [(row.stratum.name, row.num_images, row.num_instances) for row in first.strata]
        if result.measure != first.measure or images != expected:
            raise InputError(
                f'{result.name!r} ({result.iou_type}) and {first.name!r} ({first.iou_type}) are not on the same images '
                'and strata; write one report for each ground truth and measure.'
            )
    for comparison in comparisons:
        for name in (comparison.baseline, comparison.model):
            if (comparison.iou_type, name) not in keys:
                raise InputError(
                    f'a comparison names {name!r} ({comparison.iou_type}), which is not among the results; give its '
                    'result too.'
                )


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding='utf-8')
