"""What docs/speed.md says of a GPU: sentences and a table from the speed record and the steps of benchmarks/gpu.py."""

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .summary import Row, Section, ratio

# Detectors by their commands, in the order of the table.
COMMANDS = ('train', 'train_bf16', 'train_fp32', 'nccl', 'retinanet', 'cascade', 'hcgnet')
MODE = 'amp'
# What the checks of fixed statistics ended with before that was mended.
MENDED = 'save_mean should always be defined'
# Blocks of many operators, and a layer of few on large maps.
SHARES = (
    ('HierarchicalSplit, 64 planes at stride 4', 'HierarchicalSplit'),
    ('TiedSplitConv, 256 planes at stride 16', 'TiedSplitConv'),
    ('SMG, 368 to 64 channels at stride 16', 'SMG'),
    ('HybridBlock, 12 modules from 184 channels at stride 16', 'HybridBlock'),
    ('DenseShortcut, 3 sources of 256 channels at stride 4', 'DenseShortcut'),
)
# Of those, what recomputes its maps in a backward pass of its own.
OWN = ('SMG', 'HybridBlock')
Steps = Mapping[str, dict[str, Any]]


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The steps on record under a folder, by name."""
    return {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in sorted(folder.glob('*.json'))}


def text(what: str, records: Mapping[str, dict], steps: Steps) -> str:
    """A part of the page: 'rates', 'layers', 'precisions', 'commands' or 'checks'."""
    sections = records.get('gpu', {}).get('sections', {})
    if what in ('rates', 'layers'):
        content = sections.get({'rates': 'detectors'}.get(what, what))
        return {'rates': rates_text, 'layers': layers_text}[what](content) if content else 'Not measured yet.'
    return {'precisions': precisions_text, 'commands': commands, 'checks': checks_text}[what](steps)


def rates(section: Section) -> dict[str, float]:
    """Of each detector, its training rate over the baseline's: the median over rounds."""
    found = {}
    for name in section.names:
        row = section.get(name, MODE, 'train')
        if row and name != row['baseline']:
            other = ratio(section.get(row['baseline'], MODE, 'train'), row)
            found |= {name: other.median} if other else {}
    return found


def rates_text(content: Mapping[str, Any]) -> str:
    """The rates of detectors, with what they were measured on."""
    section = Section(content)
    found = rates(section)
    if not found:
        return 'Not measured yet.'
    row = section.get(next(iter(found)), MODE, 'train')
    base = section.get(row['baseline'], MODE, 'train')
    images = 'x'.join(map(str, content['settings']['images']))
    named = ', '.join(f'`{name}` {rate:.2f}' for name, rate in sorted(found.items(), key=lambda item: item[1]))
    later = _range(r['seconds'][-1] / r['seconds'][0] for r in section.rows.values() if r['mode'] == MODE)
    return (
        f'{content["hardware"]}, images {images}, `--amp` (float16), {_rounds(base)} of '
        f'{content["settings"]["iterations"]} steps: the training rate of Mask R-CNN is {_range(found.values())} of '
        f'that with `{row["baseline"]}` ({named}). The times of the last round are {later} of those of the first; '
        'ratios are taken inside a round.'
    )


def convolutions(section: Section) -> list[tuple[Row, Row]]:
    """Training steps of tied 3x3 convolutions and of the plain ones they are compared with, as PyTorch runs them."""
    rows = [r for r in section.rows.values() if (r['mode'], r['pass']) == ('eager', 'train') and ', 3x3, ' in r['name']]
    return [(r, section.get(r['baseline'], 'eager', 'train')) for r in rows if r['name'] != r['baseline']]


def layers_text(content: Mapping[str, Any]) -> str:
    """How far layers are from their bounds, and how little their arithmetic tells of their time."""
    section = Section(content)
    pairs = convolutions(section)
    if not pairs:
        return 'Not measured yet.'
    least = [(row, base) for row, base in pairs if ', B = 8,' in row['name']]
    both = [row for pair in pairs for row in pair]
    shares = [(name, row) for key, name in SHARES if (row := section.get(key, 'eager', 'train'))]
    own = [(name, row) for name, row in shares if name in OWN]
    times = sorted(1e3 * seconds(row) for row in both)
    images = 'x'.join(map(str, content['settings']['images']))
    return (
        f'Of layers as they are in a network on images {images} ({_rounds(both[0])}, eager), training steps of 3x3 '
        f'convolutions, plain or tied, all take {times[0]:.2f} to {times[-1]:.2f} ms, '
        f'at {_range((share(r) for r in both), "%")} of their bounds. With B = 8 they have an eighth of the FLOPs and '
        f'{_range(r["bound"] / b["bound"] for r, b in least)} of the bound of the plain ones, but take '
        f'{_range(seconds(r) / seconds(b) for r, b in least)} of their time. Further from or nearer '
        'to their bounds are '
        + ', '.join(f'`{name}` at {share(row):.0%}' for name, row in shares)
        + '. Relative to their plain forms '
        + ' and '.join(
            f'`{name}` takes {_over(section, row):.2f} of the time and keeps {_over(section, row, "kept"):.2f} of the '
            'memory'
            for name, row in own
        )
        + '.'
    )


def seconds(row: Row) -> float:
    """The median over rounds."""
    return statistics.median(row['seconds'])


def share(row: Row) -> float:
    """The bound over the time."""
    return row['bound'] / seconds(row)


def _over(section: Section, row: Row, key: str = 'seconds') -> float:
    return ratio(row, section.get(row['baseline'], row['mode'], row['pass']), key).median


def precision(step: Mapping[str, Any]) -> str:
    """Of a step that trains a detector."""
    options = step['result']['options']
    if '--amp' not in options:
        return 'float32'
    return 'bfloat16' if 'optim_wrapper.dtype=bfloat16' in options else 'float16'


def trained(steps: Steps) -> dict[str, dict[str, Any]]:
    """The steps that trained a detector, in order."""
    return {n: steps[n] for n in COMMANDS if steps.get(n, {}).get('result', {}).get('images_per_second')}


def precisions_text(steps: Steps) -> str:
    """Rates and memory in half precision over those in float32."""
    found = trained(steps)
    if not {'train', 'train_bf16', 'train_fp32'} <= set(found):
        return 'Not measured yet.'
    base = found['train_fp32']['result']
    parts = [
        f'{precision(found[name])} takes {found[name]["result"]["memory_mib"] / base["memory_mib"]:.2f} of the memory '
        f'and has {found[name]["result"]["images_per_second"] / base["images_per_second"]:.2f} of the rate'
        for name in ('train', 'train_bf16')
    ]
    own, other = (found[name]['result']['iterations'] for name in ('train_fp32', 'train'))
    return (
        f'Relative to float32 (convolutions in TF32; {own} iterations, {other} of the others), {" and ".join(parts)}.'
    )


def commands(steps: Steps) -> str:
    """The detectors' commands as Markdown."""
    found = trained(steps)
    if not found:
        return 'Not measured yet.'
    lines = [
        '| config | precision | images of a step | iterations | images/s | seconds of an iteration | MiB |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ]
    for name, step in found.items():
        result = step['result']
        config = f'`{Path(result["config"]).stem}`' + (', `torchrun`, NCCL' if name == 'nccl' else '')
        cells = [config, precision(step), str(result['batch']), str(result['iterations'])]
        cells += [f'{result["images_per_second"]:.2f}', f'{result["seconds"]:.3f}', f'{result["memory_mib"]:,}']
        lines.append(f'| {" | ".join(cells)} |')
    first = next(iter(found.values()))
    versions = ', '.join(f'{name} {first["versions"][name]}' for name in ('torch', 'mmcv', 'mmdet'))
    hardware = f'{first["hardware"]["device"]}, {first["hardware"]["cores"]} cores; {first["date"]}; {versions}.'
    return '\n'.join([hardware, '', *lines])


def checks_text(steps: Steps) -> str:
    """What the checks found on a GPU, as far as it is on record."""
    if 'operators' not in steps:
        return 'Not checked yet.'
    result = steps['operators']['result']
    wrong = [row for row in result['rows'] if not row['ok']]
    broken = [row for row in wrong if MENDED in str(row['error'])]
    if not broken or 'layers_after_mending' not in steps:
        return (
            f'Of {result["checks"]:,} comparisons of operators, layers and backbones with a CPU '
            f'(`benchmarks/results/gpu/operators.json`) {len(wrong)} were beyond what is allowed; '
            f'{len(result["not_reached"])} checks were not reached.'
        )
    after = steps['layers_after_mending']['result']
    ended = any('took longer than' in told for told in result['failed'])
    return (
        'The first run of the checks against a CPU (`benchmarks/results/gpu/operators.json`) found that layers of '
        f'HCGNet and DSNet with fixed statistics could not train on a GPU: {len(broken)} checks ended with '
        f'"{MENDED}". It is mended: of the same layers, checked again (`layers_after_mending.json` beside it), all '
        f'{after["checks"]:,} comparisons are within what is allowed, and {len(after["not_reached"])} layers on large '
        f'maps were not reached. {len(wrong) - len(broken)} other checks of that first run were beyond limits that '
        'have been changed since, for float16 in RoIAlign and for gradients beside the kinks of ReLUs, and have not '
        f'been run again{"; it was ended before it had reached all backbones" if ended else ""}.'
    )


def _range(values: Iterable[float], unit: str = '') -> str:
    found = [f'{value:.0%}' if unit else f'{value:.2f}' for value in sorted(values)]
    return found[0] if found[0] == found[-1] else f'{found[0]} to {found[-1]}'


def _rounds(row: Row) -> str:
    number = len(row['seconds'])
    return f'{number} round{"s" * (number > 1)}'
