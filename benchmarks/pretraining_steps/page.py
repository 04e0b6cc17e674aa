"""The section of docs/weights.md on whether pre-training helps, from the recorded numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import pages, plan
from study.words import WHOLE, change, count, needed, p_value

from mmhybrid.figure_style import drawing, model_series, new_figure, settle

from .arms import NOTHING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Document = Mapping[str, Any]

CURVES = 'pretraining_curves.png'
BEGIN = '<!-- From here on made by `python benchmarks/pretraining.py analyse`. -->'
NEVER = 'Not measured yet: `python benchmarks/pretraining.py run` and `analyse` do it.'


def write(document: Document | None, trials: Mapping[str, Document], page: Path) -> None:
    """Replace what follows the mark in the page, and its figure.

    Args:
        document: What ``analyse`` recorded, or None if there are no numbers.
        trials: What is kept of the trials.
        page: A file that has ``BEGIN`` in a line.
    """
    from mmhybrid.occlusion.show.figures import to_bytes

    before, mark, _ = page.read_text(encoding='utf-8').partition(BEGIN)
    if not mark:
        raise ValueError(f'{page} lacks the line {BEGIN}')
    page.write_text(f'{before}{BEGIN}\n\n{render(document, trials)}\n', encoding='utf-8')
    if trials:
        (page.parent / 'images').mkdir(exist_ok=True)
        (page.parent / 'images' / CURVES).write_bytes(to_bytes(curves(trials), 'png'))


def render(document: Document | None, trials: Mapping[str, Document]) -> str:
    """The text behind the mark."""
    return '\n\n'.join([_helps(document), *([_learns(trials)] if trials else [])])


def thinned(rows: list[Any], most: int) -> list[Any]:
    """Every n-th row, so that about ``most`` are left, and the last one."""
    step = max(1, len(rows) // most)
    return [*rows[:-1:step], *rows[-1:]]


def _helps(document: Document | None) -> str:
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
            f'{made["top1"][-1]:.1f}%', _minutes(made), f'`{made["weights"]}`',
        ])  # fmt: skip
    head = ['', 'pictures', 'side', 'epochs', 'pictures a step', 'top-1 at the end', 'minutes', 'weights']
    held = any(made['seconds'] is None for made in document['pretraining'].values())
    note = ['A dash: other work ran beside it, so that its minutes mean nothing.'] if held else []
    return '\n\n'.join([pages.table(head, rows), *note])


def _minutes(made: Document) -> str:
    """A dash for a run whose time was not kept, since it was held or had much other work beside it."""
    return '-' if made['seconds'] is None else f'{made["seconds"] / 60:.0f}'


def _learns(trials: Mapping[str, Document]) -> str:
    rows = [
        [
            made['title'], str(made['epochs']), _minutes(made),
            ', '.join(f'{value:.1f}' for value in made['top1']), f'{made["top5"][-1]:.1f}',
        ]
        for made in trials.values()
    ]  # fmt: skip
    versions = sorted({f'{made["hardware"]}' for made in trials.values()})
    head = ['CIFAR-10, 32x32, no mixup', 'epochs', 'minutes', 'top-1 by epoch, %', 'top-5 at the end, %']
    return '\n\n'.join([
        '## Does it learn?',
        f'On one {" and ".join(versions)}, with other work beside it, by `python benchmarks/pretraining.py trials '
        '--cifar10 data/cifar10`; top-1 and top-5 are of the 10,000 test pictures where the row says nothing else:',
        pages.table(head, rows),
        f'![Training loss and top-1](images/{CURVES})',
        'A dash stands for a run that was held in between. These runs show that the road works, not how good the '
        'backbones are: the authors of HCGNet report 3.15% error (96.85% top-1) of A1 after 1,270 epochs of all '
        'pictures. Commands and curves: [`results/pretraining/trials`](../benchmarks/results/pretraining/trials).',
    ])  # fmt: skip


def curves(trials: Mapping[str, Document]) -> Figure:
    """Training loss against the step, and top-1 against the epoch."""
    looks = model_series([made['title'] for made in trials.values()])
    with drawing():
        figure = new_figure(9, 3.6)
        loss, top1 = figure.subplots(1, 2)
        for made in trials.values():
            look = looks[made['title']]
            steps, values = zip(*made['losses'], strict=True)
            loss.plot([step / steps[-1] * made['epochs'] for step in steps], values, color=look.colour, linewidth=1.2)
            epochs = range(1, made['epochs'] + 1)
            top1.plot(epochs, made['top1'], marker=look.marker, color=look.colour, label=made['title'])
        loss.set_xlabel('epoch')
        loss.set_ylabel('training loss')
        top1.set_xlabel('epoch')
        top1.set_ylabel('top-1, %')
        top1.set_ylim(0, 100)
        for axes in (loss, top1):
            axes.xaxis.get_major_locator().set_params(integer=True)
        top1.legend(loc='lower right')
        return settle(figure)
