"""The section of docs/weights.md on whether pre-training helps, from the recorded numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study import pages, plan
from study.words import WHOLE, change, count, needed, p_value

from .arms import NOTHING

Document = Mapping[str, Any]

BEGIN = '<!-- From here on made by `python benchmarks/pretraining.py analyse`. -->'
NEVER = 'Not measured yet: `python benchmarks/pretraining.py run` and `analyse` do it.'


def write(document: Document | None, page: Path) -> None:
    """Replace what follows the mark in the page.

    Args:
        document: What ``analyse`` recorded, or None if there are no numbers.
        page: A file that has ``BEGIN`` in a line.
    """
    before, mark, _ = page.read_text(encoding='utf-8').partition(BEGIN)
    if not mark:
        raise ValueError(f'{page} lacks the line {BEGIN}')
    page.write_text(f'{before}{BEGIN}\n\n{render(document)}\n', encoding='utf-8')


def render(document: Document | None) -> str:
    """The text behind the mark."""
    if document is None:
        return NEVER
    others = [each for name, each in document['models'].items() if name != NOTHING and each['against']['seeds']]
    settings, training = document['settings'], document['training']
    size = document['size']
    return '\n\n'.join([
        'In points of AP (of 100), against the same detector from random values:',
        '\n'.join(f'- {_answer(each)}' for each in others),
        f'The detector is the [demo\'s](../{plan.DEMO.relative_to(plan.REPO).as_posix()}): '
        f'{settings["epochs"]} epochs of {settings["train_images"]:,} images of {settings["side"]} pixels, '
        f'{settings["batch"]} an iteration, nothing frozen, the same for all; '
        f'{settings["val_images"]:,} images to test. The backbones were pre-trained once each, alike:',
        _pretrainings(document),
        'The crops are of the detector\'s own training images, which the one from random values sees as well.',
        '**Box AP in %, mean over seeds**',
        pages.means(document),
        f'**Difference to the detector from random values, in points, with {document["confidence"]:.0%} intervals**',
        pages.differences(document, 'strata', 'strata'),
        'An asterisk marks p < 0.05 after Holm\'s adjustment for the strata of one column. Intervals count the '
        'detector\'s seeds and the images ([how](study.md#method)); the one pre-training of each kind is taken as it '
        'is, and longer schedules, other detectors and real images may give another answer.',
        f'Trained on {" and ".join(training["hardware"])}, with {", ".join(training["versions"])}; all numbers: '
        f'[`{size}.json`](../benchmarks/results/pretraining/{size}.json).',
        '```bash\npython benchmarks/pretraining.py run --cifar10 data/cifar10 --jobs 2\n'
        f'{document["command"]}\n```',
    ])  # fmt: skip


def _answer(model: Document) -> str:
    overall, slope = model['against']['overall'], model['against']['slope']
    more = change(slope)
    return (
        f'**{model["title"]}**, {count(overall["seeds"], "seed")}: over all images {WHOLE[overall["verdict"]]}, '
        f'{change(overall)} (p {_is(overall["p"])}){needed(overall)}. From r = 0 to r = 1 the difference would change '
        f'by {more} (p {_is(slope["p"])}).'
    )


def _is(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith('<') else f'= {text}'


def _pretrainings(document: Document) -> str:
    rows = []
    for arm, made in document['pretraining'].items():
        s = made['settings']
        rows.append([
            document['models'][arm]['title'] if arm in document['models'] else arm,
            f'{made["pictures"]:,}', str(s['side']), f'{made["epochs"]}', f'{s["batch"]}',
            f'{made["top1"][-1]:.1f}%', f'{made["seconds"] / 60:.0f}', f'`{made["weights"]}`',
        ])  # fmt: skip
    head = ['', 'pictures', 'side', 'epochs', 'pictures a step', 'top-1 at the end', 'minutes', 'weights']
    return pages.table(head, rows)
