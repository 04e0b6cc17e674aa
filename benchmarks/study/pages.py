"""docs/study.md, from its template and the recorded numbers; nothing that the code or the runs know is typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmhybrid.variants import FAMILIES

from . import plan
from .effects import CONFIDENCE
from .measure import RESAMPLES
from .words import answer, change, count, p_value

Document = Mapping[str, Any]

SETTINGS: dict[str, tuple[str, Callable[[plan.Size], str]]] = {
    'narrow': ('backbones', lambda s: 'a quarter as wide' if s.narrow else 'as published'),
    'train_images': ('training images', lambda s: f'{s.train_images:,}'),
    'val_images': ('validation images', lambda s: f'{s.val_images:,}'),
    'side': ('side of the images, pixels', lambda s: str(s.side)),
    'batch': ('images an iteration', lambda s: str(s.batch)),
    'epochs': ('epochs', lambda s: str(s.epochs)),
    'lr': ('peak learning rate (AdamW)', lambda s: f'{s.lr:g}'),
    'amp': ('precision', lambda s: 'mixed' if s.amp else 'single'),
}
PAGE = 'study.md'
TEMPLATE = plan.REPO / 'docs' / 'study.template.md'
SHOWN = tuple(size for size in plan.SIZES if size != 'trial')


def render(template: str, documents: Mapping[str, Document], coverage: Document | None) -> str:
    """Fill the template's placeholders.

    Args:
        template: Text with ``{{name}}`` and ``{{name size}}``.
        documents: What :func:`analysis.analyse` gave for each size that has runs.
        coverage: What the command ``coverage`` wrote, or None.
    """
    fills: dict[str, Callable[..., str]] = {
        'arxiv': lambda: FAMILIES['tbc'].arxiv,
        'demo': lambda: plan.DEMO.relative_to(plan.REPO).as_posix(),
        'baseline': lambda: plan.MODELS[plan.BASELINE].title,
        'confidence': lambda: f'{CONFIDENCE:.0%}',
        'resamples': lambda: f'{RESAMPLES:,}',
        'settings': lambda: _settings(documents),
        'notes': _notes,
        'coverage': lambda: _coverage(coverage),
        'repeat': lambda: _repeat(documents),
        'answer': lambda size: answer(size, documents.get(size)),
        'results': lambda size: _results(size, documents.get(size)),
    }
    return re.sub(r'\{\{(\w+)(?: (\w+))?\}\}', lambda match: fills[match[1]](*filter(None, [match[2]])), template)


def write(kept: Path, docs: Path) -> None:
    """Write the page and the figures of all sizes whose numbers are recorded.

    Args:
        kept: Folder of SIZE.json and coverage.json.
        docs: Folder of the page and images/.
    """
    from mmhybrid.occlusion.show.figures import to_bytes

    from .figure import plot

    documents, coverage = recorded(kept)
    (docs / 'images').mkdir(parents=True, exist_ok=True)
    for size, document in documents.items():
        if _others(document):
            (docs / 'images' / f'study_{size}.png').write_bytes(to_bytes(plot(document), 'png'))
    (docs / PAGE).write_text(render(TEMPLATE.read_text(encoding='utf-8'), documents, coverage), encoding='utf-8')


def recorded(kept: Path) -> tuple[dict[str, Document], Document | None]:
    """The recorded numbers: of each size that has some, and of the simulations."""
    read = {path.stem: json.loads(path.read_text()) for path in sorted(kept.glob('*.json'))}
    return {size: read[size] for size in SHOWN if size in read}, read.get('coverage')


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are text, the others numbers."""
    marks = ['---'] * left + ['---:'] * (len(head) - left)
    return '\n'.join(f'| {" | ".join(row)} |' for row in (head, marks, *rows))


def _settings(documents: Mapping[str, Document]) -> str:
    rows = [[label, *(text(plan.SIZES[size]) for size in SHOWN)] for label, text in SETTINGS.values()]
    seeds = [_span(documents[size]) if size in documents else 'none were run' for size in SHOWN]
    return table(['', *SHOWN], [*rows, ['seeds a model', *seeds]])


def _span(document: Document) -> str:
    counts = sorted({len(model['seeds']) for model in document['models'].values()})
    return str(counts[0]) if len(counts) == 1 else f'{counts[0]} to {counts[-1]}'


def _notes() -> str:
    notes = [f'{model.title}: {model.note}' for model in plan.MODELS.values() if model.note]
    return f' Where a quarter does not divide: {"; ".join(notes)}.' if notes else ''


def _coverage(coverage: Document | None) -> str:
    if coverage is None:
        return 'Not measured yet.'
    rows = []
    for row in (*coverage['numbers'], *coverage['detectors']):
        low, high = row['coverage_interval']
        sds = ' / '.join(f'{row[key]:g}' for key in ('sd_seed', 'sd_image', 'sd_both') if key in row)
        what = f'detectors {row["case"]}: {row["metric"]}' if 'metric' in row else f'numbers, {sds}'
        false = f'{row["p_below_0.05"]:.1%}' if 'p_below_0.05' in row else '-'
        plain = f'{row["coverage_of_percentiles"]:.1%}' if 'coverage_of_percentiles' in row else '-'
        sure = f'{low:.1%} to {high:.1%}'
        rows.append([what, str(row['seeds']), f'{row["trials"]:,}', f'{row["coverage"]:.1%}', sure, false, plain])
    head = ['simulation', 'seeds', 'trials', f'truth in the {CONFIDENCE:.0%} interval', 'that share is within',
            'p < 0.05 without a difference', 'truth in two-way percentiles']  # fmt: skip
    source = (
        '*Numbers* are means of normal numbers; the three figures are the standard deviations that come from seeds, '
        'from images, and from how each seed meets each image. *Detectors* find made-up instances by skill and luck '
        'and are evaluated as runs are; "alike" means that model and baseline have one skill. Two-way percentiles '
        'are what drawing both with replacement would give. `python benchmarks/occlusion_study.py coverage` '
        f'repeats it ([`coverage.py`](../benchmarks/study/coverage.py), {coverage["resamples"]} resamples).'
    )
    return f'{table(head, rows)}\n\n{source}'


def _results(size: str, document: Document | None) -> str:
    if document is None:
        return f'No runs of this size were made. `python benchmarks/occlusion_study.py run --size {size}` makes them.'
    training = document['training']
    made = f'Trained on {" and ".join(training["hardware"])}, with {", ".join(training["versions"])}.'
    return '\n\n'.join([
        made,
        f'![Difference in AP against r](images/study_{size}.png)',
        f'Above: each model\'s difference in box AP to {_baseline(document)["title"]} in each stratum, with '
        f'{document["confidence"]:.0%} intervals; small points are single seeds; the line is the least-squares line, '
        'whose slope is the primary test.',
        _primary(document),
        'Differences are in points of AP (of 100), slopes in points per unit of r; the last column is the slope of '
        'log(AP / baseline\'s AP). AP is the mean over all seeds of a model; a difference is over those that the '
        'baseline has too.',
        '**Box AP in %, mean over seeds**',
        means(document),
        '**Difference in box AP, in points**',
        differences(document, 'strata', 'strata'),
        'An asterisk marks p < 0.05 after Holm\'s adjustment for the strata of one model.',
        '**Recall at IoU .5 in %, by the hidden share h of each instance, and differences in points**',
        _recalls(document, 'recall50'),
        '**The same, averaged over IoU .5:.95**',
        _recalls(document, 'recall'),
        'Recall counts every detection that the detector returns, 100 an image at most, whatever its score. Its '
        'intervals are not adjusted for their number.',
        f'All numbers, seed by seed: [`{size}.json`](../benchmarks/results/study/{size}.json).',
    ])  # fmt: skip


def _baseline(document: Document) -> Document:
    return document['models'][document['baseline']]


def _others(document: Document) -> list[Document]:
    return [each for each in document['models'].values() if each.get('against', {}).get('seeds')]


def _primary(document: Document) -> str:
    rows = [[_baseline(document)['title'], *_facts(_baseline(document)), *[''] * 7]]
    for model in _others(document):
        found = model['against']
        overall, slope, log_slope = found['overall'], found['slope'], found['log_slope']
        rows.append([
            model['title'], *_facts(model), change(overall), p_value(overall['p']), overall['verdict'], change(slope),
            p_value(slope['p']), slope['verdict'], change(log_slope, 1, 2) if log_slope else '-',
        ])  # fmt: skip
    head = ['model', 'parameters', 'seeds', 'AP, %', 'difference', 'p', 'over all images', 'slope', 'p', 'claim',
            'slope of log ratio']  # fmt: skip
    return table(head, rows)


def _facts(model: Document) -> list[str]:
    return [f'{model["parameters"]:,}', str(len(model['seeds'])), f'{100 * model["mean"]["ap"][0]:.1f}']


def means(document: Document) -> str:
    """Table of the mean AP of each model, over all images and in each stratum."""
    models = list(document['models'].values())
    names = [('all', sum(row['images'] for row in document['strata'])),
             *((row['name'], row['images']) for row in document['strata'])]  # fmt: skip
    rows = [
        [name, str(images), *(f'{100 * model["mean"]["ap"][i]:.1f}' for model in models)]
        for i, (name, images) in enumerate(names)
    ]
    return table(['stratum', 'images', *(model['title'] for model in models)], rows)


def differences(document: Document, names: str, key: str) -> str:
    """Table of each model's differences, one row for each of ``document[names]``."""
    models = _others(document)
    rows = [
        [row['name'], *(change(model['against'][key][i]) + _mark(model['against'][key][i]) for model in models)]
        for i, row in enumerate(document[names])
    ]
    return table(['stratum', *(model['title'] for model in models)], rows)


def _mark(found: Document) -> str:
    return ' \\*' if found['p_holm'] is not None and found['p_holm'] < 1 - CONFIDENCE else ''


def _recalls(document: Document, key: str) -> str:
    models, baseline = _others(document), _baseline(document)
    rows = [
        [
            row['name'],
            str(row['instances']),
            f'{100 * baseline["mean"][key][i]:.1f}',
            *(change(model['against'][key][i]) for model in models),
        ]
        for i, row in enumerate(document['instances'])
    ]
    return table(['hidden', 'instances', baseline['title'], *(model['title'] for model in models)], rows)


def _repeat(documents: Mapping[str, Document]) -> str:
    lines = ['```bash', 'python benchmarks/occlusion_study.py run --jobs 2     # goes on where it was stopped']
    lines += ['python benchmarks/occlusion_study.py run --size gpu', 'python benchmarks/occlusion_study.py coverage']
    lines += [f'python benchmarks/occlusion_study.py analyse --size {size}' for size in SHOWN] + ['```']
    for size, document in documents.items():
        seconds = [each for model in document['models'].values() for each in model['train_seconds']]
        mean = sum(seconds) / len(seconds) / 60
        lines += [
            '',
            f'Size {size}: {count(len(seconds), "run")}, {mean:.1f} minutes of training each in the mean (wall time).',
        ]
    return '\n'.join(lines)
