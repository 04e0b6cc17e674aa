"""The middle of docs/what_r_measures.md and its figure, from the records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .correlations import LABEL, LARGEST, MEAN, NUMBER, WIDER
from .figure import draw
from .sources import HEAVY, SOURCES

Document = Mapping[str, Any]

FIGURE = 'what_r_measures.png'
BEGIN = '<!-- From here to the next mark made by `python benchmarks/what_r_measures.py`. -->'
END = '<!-- End of what is made. -->'
OF = {'bbox': 'boxes', WIDER: 'boxes, ignored cover too', 'segm': 'masks', 'amodal': 'amodal masks'}
TARGETS = {MEAN: 'mean', LARGEST: 'largest', LABEL: 'label'}


def write(documents: Mapping[str, Document], file: Path) -> None:
    """Replace what is between the marks of the page, and its figure beside it.

    Args:
        documents: The records by name, in order.
        file: A page with ``BEGIN`` and ``END``, each in a line of its own.

    Raises:
        ValueError: It lacks them.
    """
    from mmhybrid.occlusion.show.figures import to_bytes

    before, begin, rest = file.read_text(encoding='utf-8').partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'{file} lacks the lines {BEGIN} and {END}')
    file.write_text(f'{before}{BEGIN}\n\n{render(documents)}\n\n{END}{after}', encoding='utf-8')
    if documents:
        (file.parent / 'images').mkdir(exist_ok=True)
        (file.parent / 'images' / FIGURE).write_bytes(to_bytes(draw(documents), 'png'))


def render(documents: Mapping[str, Document]) -> str:
    """What stands between the marks."""
    if not documents:
        return 'Not measured yet: `python benchmarks/what_r_measures.py --help` tells how.'
    first = next(iter(documents.values()))['settings']
    return '\n\n'.join([
        'Rank correlations with annotated occlusion, where 1 is the same order and 0 is none:',
        '\n'.join(f'- {sentence(each)}' for each in documents.values()),
        f'![Rank correlation with annotated occlusion](images/{FIGURE})',
        '**By instance**: the hidden share, or level, of an instance against the share of it that others cover',
        _instances(documents),
        '*At most* is what the correlation could be with ties as they are: levels, and the many instances that nothing '
        'covers, have no order among themselves. *Covered by none* is of the instances that are hidden most '
        f'(a share of {HEAVY:g}, or the highest level) the share that no other one covers.',
        '**By image**: the hidden shares of an image, or its label, against what is measured of it',
        _images(documents),
        '*Mean* and *largest* are of the hidden shares, or levels, of an image\'s instances, on images that have any. '
        'A fraction is the share of an instance that others cover.',
        f'Spearman\'s rank correlation; in brackets {first["confidence"]:.0%} intervals of {first["resamples"]:,} '
        'resamples of the images. Versions and check sums of the files: '
        '[`results/what_r_measures`](../benchmarks/results/what_r_measures).',
        '```bash\n' + '\n'.join(each['command'] for each in documents.values()) + '\n```',
    ])  # fmt: skip


def told(document: Document) -> str:
    """What the terminal shows of one data set."""
    lines = [sentence(document).replace('**', '')]
    for row in document['by_instance']:
        lines.append(f'  instances, covered fraction of {OF[row["geometry"]]}: {_cell(row)}')
    for target, rows in document['by_image'].items():
        lines += [
            f'  images, {TARGETS[target]}: {row["measure"]} {OF.get(row["geometry"], "")} {_cell(row)}' for row in rows
        ]
    return '\n'.join(lines)


def sentence(document: Document) -> str:
    """The answer of one data set."""
    by_instance = document['by_instance']
    target, rows = next(iter(document['by_image'].items()))
    found = {(row['measure'], row['geometry']): row for row in rows}
    r, number = found['covered', 'bbox'], found[NUMBER, '']
    parts = []
    if by_instance:
        parts.append(f'by instance {_cell(by_instance[0])}')
        heavy = document['uncovered'][0]
        if heavy['instances']:
            plural = '' if heavy['instances'] == 1 else 's'
            plural = '' if heavy['instances'] == 1 else 's'
            who = f'the {heavy["instances"]:,} instance{plural} {SOURCES[document["name"]].heavily}'
            parts.append(f"{heavy['value']:.0%} of {who} are covered by no other's box")
    what = 'labels' if target == LABEL else 'mean hidden share or level'
    parts.append(f'by image ({what}) r {_cell(r)}, the number of instances alone {_cell(number)}')
    return f'**{of(document)}**: {"; ".join(parts)}, the difference {_cell(r["minus_number"], "+")}.'


def of(document: Document) -> str:
    """The data set, and how much of it was there."""
    source, images = SOURCES[document['name']], document['images_of_file']
    if source.images is None or images > source.images:
        return f'{source.title}, {images:,} images'
    if images < source.images:
        return f'{source.title}, a sample of {images:,} of the {source.images:,} images of {source.part}'
    return f'{source.title}, all {images:,} images of {source.part}'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, ['---'] * len(head), *rows))


def _instances(documents: Mapping[str, Document]) -> str:
    rows = []
    for document in documents.values():
        source = SOURCES[document['name']]
        for row, heavy in zip(document['by_instance'], document['uncovered'], strict=True):
            none = f'{_cell(heavy)} of {heavy["instances"]:,}' if heavy['instances'] else '-'
            rows.append([
                source.title, source.annotated, f'{row["n"]:,}', OF[row['geometry']], _cell(row), _plain(row['most']),
                none,
            ])  # fmt: skip
    return table(['', 'annotated', 'instances', 'covered share of', 'correlation', 'at most', 'covered by none'], rows)


def _images(documents: Mapping[str, Document]) -> str:
    """A row a data set, target and geometry, a column a measure."""
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for document in documents.values():
        title = SOURCES[document['name']].title
        for target, rows in document['by_image'].items():
            for row in rows:
                key = (title, TARGETS[target], OF[row['geometry'] or 'bbox'])
                cells.setdefault(key, {'': f'{row["n"]:,}'})[row['measure']] = _cell(row)
    measures = list(dict.fromkeys(name for row in cells.values() for name in row))
    rows = [[*key, *(row.get(name, '') for name in measures)] for key, row in cells.items()]
    return table(['', 'hidden', 'of', 'images', *measures[1:]], rows)


def _cell(row: Document, sign: str = '') -> str:
    """A number with its interval; a dash where it is not defined."""
    bounds = '' if row['low'] is None else f' [{_plain(row["low"], sign)}, {_plain(row["high"], sign)}]'
    return _plain(row['value'], sign) + bounds


def _plain(value: float | None, sign: str = '') -> str:
    return '-' if value is None else f'{round(value, 2) + 0.0:{sign}.2f}'
