"""What occlusion strata cost on top of plain COCO evaluation: seconds, CPU seconds and peak memory, in one run.

Every measurement is a process of its own, the quickest of --repeat rounds counts, and each round takes all of them in
turn. "Plain" is what a COCO script does: read both files, then evaluate, accumulate and summarize, on all images. The
mmhybrid runs beside it read the same files and evaluate ten bins of r (all images are in one) and all images. Imports
count for both. image_ratios and "resampling alone" are timed without reading the files. bbox+segm is one results file
with boxes and masks; plain evaluators then read it once too.

The figures must agree to 1e-12, between engines and with the plain evaluation of all images: else the exit status is 1
and nothing is written. Targets are for val2017's size on a quiet machine; imports weigh on smaller sets.

Example (val2017's size; plain pycocotools takes minutes, --large a further 1.1 GB of disk):
    python benchmarks/occlusion.py --large --out benchmarks/results/occlusion.json
To try it out:
    python benchmarks/occlusion.py --images 200 --repeat 1 --large
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from occlusion_steps import BINS, BOOTSTRAP, COPIES, LARGE, PLAIN, RATIOS, RESAMPLING, TYPES

ENGINES = {'pycocotools': 'pycocotools', 'faster-coco-eval': 'faster_coco_eval', 'hotcoco': 'hotcoco'}
STEP_SCRIPT = Path(__file__).with_name('occlusion_steps.py')
TOLERANCE = 1e-12
STEPS = {'plain': PLAIN, 'mmhybrid': BINS, 'ratios': RATIOS, 'resampling': RESAMPLING, 'bootstrap': BOOTSTRAP}
# (step, engine, IoU types) -> what is asked for; None stands for any engine.
TARGETS = {
    (BINS, 'pycocotools', 'bbox+segm'): ('ratio_to_plain', 1.2),
    (BINS, 'hotcoco', 'bbox+segm'): ('ratio_to_plain', 2.2),
    (RATIOS, None, 'bbox'): ('seconds', 2),
    (RATIOS, None, 'segm'): ('seconds', 20),
    (RESAMPLING, None, 'bbox'): ('seconds', 60),
    (RESAMPLING, None, 'segm'): ('seconds', 60),
    (LARGE, None, 'bbox'): ('peak_gb', 3),
}


def main() -> None:
    installed = [name for name, module in ENGINES.items() if find_spec(module)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-dir', type=Path, help='made by coco_like.py if empty (default: work_dirs/coco_like_N)')
    parser.add_argument('--images', type=int, help='in the data set (default: 5000, as val2017)')
    parser.add_argument('--engines', nargs='+', choices=ENGINES, default=installed, help='default: those installed')
    parser.add_argument('--types', nargs='+', choices=TYPES, default=list(TYPES), help='default: all')
    parser.add_argument('--skip', nargs='+', choices=STEPS, default=[], help='what not to measure')
    parser.add_argument('--repeat', type=int, default=3, help='rounds (default: %(default)s)')
    parser.add_argument('--large', action='store_true', help=f'{COPIES} times the data set too, boxes only, once')
    parser.add_argument('--out', type=Path, help='JSON to write')
    args = parser.parse_args()
    if missing := [name for name in args.engines if name not in installed]:
        parser.error(f'{missing[0]} is not installed; install it or leave it out of --engines')
    if args.repeat < 1 or (args.images is not None and args.images < 1):
        parser.error('--repeat and --images are at least 1')
    args.data_dir = args.data_dir or Path('work_dirs') / f'coco_like_{args.images or 5000}'
    make_data(args.data_dir, args.images or 5000)
    sizes = in_process('sizes', data_dir=str(args.data_dir))
    if args.images and args.images != sizes['images']:
        parser.error(f'{args.data_dir} has {sizes["images"]} images, not {args.images}; give another --data-dir')

    runs = measure(args)
    rows = [summary(key, found, runs) for key, found in runs.items()]
    table(rows, sizes)
    if wrong := disagreements(runs):
        sys.exit('error: figures that should agree do not:\n' + '\n'.join(wrong))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document(args, sizes, rows), indent=1) + '\n')
        print(f'wrote {args.out}')


def measure(args: argparse.Namespace) -> dict[tuple, list[dict]]:
    """(step, engine, IoU types) -> what each round measured."""
    # One engine for what is measured once; None is the quicker one that is installed.
    ours = next((engine for engine in ('hotcoco', 'pycocotools') if engine in args.engines), None)
    steps = [step for name, step in STEPS.items() if name not in args.skip]
    keys: list[tuple[str, str | None, str]] = []
    for types in args.types:
        for engine in args.engines:
            keys += [(PLAIN, engine, types)] if PLAIN in steps else []
            keys += [(BINS, engine, types)] if BINS in steps and engine != 'faster-coco-eval' else []
        keys += [(RATIOS, None, types)] if RATIOS in steps and '+' not in types else []
        keys += [(RESAMPLING, ours, types)] if RESAMPLING in steps and '+' not in types else []
        keys += [(BOOTSTRAP, ours, types)] if BOOTSTRAP in steps else []
    found: dict[tuple, list[dict]] = {key: [] for key in keys}
    for turn in range(args.repeat):
        for key in keys:
            found[key].append(in_process(*key, data_dir=str(args.data_dir)))
            print(f'{turn + 1}/{args.repeat}  {label(*key)}: {found[key][-1]["seconds"]:.2f} s', flush=True)
    if args.large:
        folder = args.data_dir / 'large'
        if not (folder / 'bbox.json').exists():
            print(f'writing {folder}', flush=True)
            in_process('write_large', data_dir=str(args.data_dir))
        found[LARGE, ours, 'bbox'] = [in_process(LARGE, ours, 'bbox', str(folder))]
    return found


def in_process(step: str, engine: str | None = None, types: str = 'bbox', data_dir: str = '') -> dict[str, Any]:
    """What :func:`occlusion_steps.run_step` returns in a fresh process."""
    # This process reads no data: where a process is started, its peak memory begins with its parent's.
    given = json.dumps({'step': step, 'engine': engine, 'types': types, 'data_dir': data_dir})
    done = subprocess.run([sys.executable, str(STEP_SCRIPT), given], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(
            f'error: {label(step, engine, types)} failed with exit status {done.returncode} (its message is above).'
        )
    return json.loads(done.stdout.splitlines()[-1])


def make_data(folder: Path, images: int) -> None:
    """Make the data set unless it is there."""
    names = ('gt.json', 'bbox.json', 'segm.json')
    if all((folder / name).exists() for name in names):
        return
    print(f'making {folder}', flush=True)
    partial = folder / 'partial'
    script = Path(__file__).with_name('coco_like.py')
    subprocess.run([sys.executable, str(script), '--out-dir', str(partial), '--images', str(images)], check=True)
    for name in names:  # an interrupted run leaves none of them
        (partial / name).replace(folder / name)
    partial.rmdir()


def summary(key: tuple, found: list[dict], runs: dict[tuple, list[dict]]) -> dict[str, Any]:
    """The quickest round of a measurement, as a row of the record."""
    step, engine, types = key
    best = min(found, key=lambda each: each['seconds'])
    row: dict[str, Any] = {'step': step, 'engine': engine, 'iou_types': list(TYPES[types])}
    row |= {name: round(best[name], 3) for name in ('seconds', 'cpu_seconds', 'peak_gb')}
    row['all_seconds'] = [round(each['seconds'], 3) for each in found]
    for name, base in (('ratio_to_plain', engine), ('ratio_to_plain_pycocotools', 'pycocotools')):
        plainly = runs.get((PLAIN, base, types)) if step in (PLAIN, BINS) else None
        if plainly:
            row[name] = round(best['seconds'] / min(each['seconds'] for each in plainly), 4)
    target = TARGETS.get(key) or TARGETS.get((step, None, types))
    if target and target[0] in row:
        row['target'] = {'of': target[0], 'at_most': target[1], 'met': row[target[0]] <= target[1]}
    if best['values']:
        row['ap'] = {iou_type: strata['all'][0] for iou_type, strata in best['values'].items()}
    return row


def disagreements(runs: dict[tuple, list[dict]]) -> list[str]:
    """Every figure that differs from another run's by more than the tolerance; faster-coco-eval is not held to it."""
    first: dict[tuple, tuple[str, list[float]]] = {}
    wrong = []
    for key, found in runs.items():
        if key[0] == LARGE or key[1] == 'faster-coco-eval':
            continue
        for values in (each['values'] for each in found):
            for iou_type, strata in values.items():
                for stratum, figures in strata.items():
                    name, expected = first.setdefault((iou_type, stratum), (label(*key), figures))
                    if any(not _equal(a, b) for a, b in zip(figures, expected, strict=True)):
                        wrong.append(f'{iou_type}, {stratum}: {figures} ({label(*key)}), {expected} ({name})')
    return wrong


def table(rows: list[dict[str, Any]], sizes: dict[str, int]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = ', '.join(f'{number:,} {name}' for name, number in sizes.items())
    output = Table('measurement', title=title, caption='x plain: of the plain run of the same engine')
    for head in ('s', 'CPU s', 'peak GB', 'x plain', 'x pycocotools', 'target'):
        output.add_column(head, justify='right', no_wrap=True)
    for row in rows:
        target = row.get('target', {})
        limit = {'seconds': '{} s', 'peak_gb': '{} GB', 'ratio_to_plain': '{} x'}.get(target.get('of'), '')
        output.add_row(
            label(row['step'], row['engine'], '+'.join(row['iou_types'])),
            *(f'{row[name]:.2f}' for name in ('seconds', 'cpu_seconds', 'peak_gb')),
            *(f'{row[name]:.3g}' if name in row else '' for name in ('ratio_to_plain', 'ratio_to_plain_pycocotools')),
            f'{limit.format(target["at_most"])} {"met" if target["met"] else "MISSED"}' if target else '',
        )
    Console(width=None if sys.stdout.isatty() else 120).print(output)


def document(args: argparse.Namespace, sizes: dict[str, int], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The record, without a path of this machine."""
    given = []
    for argument in sys.argv[1:]:
        option, equals, value = argument.rpartition('=')
        given.append(option + equals + (Path(value).name if Path(value).is_absolute() else value))
    packages = ('mmhybrid', 'numpy', 'pycocotools', 'faster-coco-eval', 'hotcoco')
    return {
        'command': f'python benchmarks/{Path(__file__).name} {shlex.join(given)}',
        'hardware': f'{_processor()}, {_num_cpus()} CPUs',
        'versions': {'python': platform.python_version()} | {name: _version(name) for name in packages},
        'data': sizes,
        'copies_in_large': COPIES if args.large else None,
        'repeat': args.repeat,
        'rows': rows,
    }


def label(step: str, engine: str | None, types: str) -> str:
    return f'{step}{f" ({engine})" if engine else ""}, {types}'


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE or (math.isnan(a) and math.isnan(b))


def _num_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(': ', 1)[1] for line in lines if line.startswith('model name')), platform.machine())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == '__main__':
    main()
