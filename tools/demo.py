"""The main job in small: make the data set, train, test, and measure under occlusion. ``make demo`` runs it.

Each step is a command of this project, printed before it runs, with its whole output in a log. What is done already is
not done again: delete the work dir to start over. At the end the result is held against runs on other machines' terms
(benchmarks/demo_runs.py).
"""

import argparse
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from mmhybrid import _stack

_stack.require_or_exit()

from mmengine.config import Config  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

REPO = Path(__file__).resolve().parent.parent
CONFIG = REPO / 'configs' / 'demo_mask_rcnn_tiedresnet_occluded_shapes.py'
EXPECTED = REPO / 'benchmarks' / 'results' / 'demo_runs.json'
SILENCE = 20  # seconds, after which a step says that it is still at work
console = Console(highlight=False)


def step(
    title: str, command: list[str | Path], log: Path | None = None, show: Callable[[str], str | None] = str
) -> None:
    """Run a tool; with a log, print only what ``show`` makes of a line."""
    words = [str(word) for word in command]
    console.print(f'\n[bold]{title}[/bold]\n$ python {shlex.join(words)}', soft_wrap=True)
    start = time.monotonic()
    # One thread, unless the environment has a number: sums round alike on any number of cores, so the result is the
    # same. So narrow a network is hardly quicker with two (benchmarks/demo_runs.py speed).
    env = {'OMP_NUM_THREADS': '1', **os.environ}
    if log is None:
        returncode = subprocess.run([sys.executable, *words], env=env).returncode
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with log.open('w') as out, subprocess.Popen([sys.executable, '-u', *words], env=env, **pipes) as process:
            for line in lines(process):
                out.write(line or '')
                text = f'still at work after {time.monotonic() - start:.0f} s' if line is None else show(line)
                if text is not None:
                    console.print(f'  {text}', markup=False, soft_wrap=True)
        returncode = process.returncode
    if returncode in (128 + signal.SIGINT, -signal.SIGINT):
        raise KeyboardInterrupt
    if returncode:
        if log is not None:
            console.print(''.join(log.read_text().splitlines(keepends=True)[-20:]), markup=False)
        console.print(f'[red]error:[/red] the command above failed{f"; see {log}" if log else ""}')
        sys.exit(returncode)
    console.print(f'  done in {time.monotonic() - start:.0f} s')


def lines(process: subprocess.Popen) -> Iterator[str | None]:
    """Lines of a process as they come, and None after each ``SILENCE`` without one."""
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in process.stdout:
            waiting.put(line)
        waiting.put(None)  # the end

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = waiting.get(timeout=SILENCE)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def progress(line: str) -> str | None:
    """The part of MMEngine's log lines that tells how far a run is."""
    if 'Training runs: ' in line:
        return line[line.index('Training runs: ') :].rstrip()
    for phase in ('Epoch(train)', 'Epoch(val)', 'Epoch(test)'):
        if phase in line and 'time' in line:
            words = line[line.index(phase) :].split()
            wanted = ('eta:', 'loss:', 'coco/bbox_mAP:', 'coco/bbox_mAP_50:')
            pairs = [f'{a} {b}' for a, b in pairwise(words) if a in wanted]
            head = line[line.index(phase) :].split('  ')[0].strip()
            return '  '.join([head, *pairs])
    return None


def headlines(run: Path) -> dict[str, float]:
    """What the demo shows, of a run's ``occlusion.json``: AP of all images, of the least and of the most occluded."""
    found = {}
    for result in json.loads((run / 'occlusion.json').read_text())['results']:
        kind = {'bbox': 'box AP', 'segm': 'mask AP'}[result['iou_type']]
        ranges = [s for s in result['strata'] if s['kind'] == 'bin' and s['num_images']]
        first, last = ranges[0]['ap'], ranges[-1]['ap']
        found[f'{kind}, all images'] = next(s['ap'] for s in result['strata'] if s['kind'] == 'all')
        found |= {f'{kind}, r = 0': first, f'{kind}, r > 0.8': last, f'{kind}, fall between the two': first - last}
    return found


def compare(run: Path) -> None:
    """Print whether the demo's numbers lie where a run is expected."""
    record = json.loads(EXPECTED.read_text())['runs']
    table = Table('', 'this run', 'expected', '', box=None, pad_edge=False, header_style='')
    outside = 0
    for name, value in headlines(run).items():
        low, high = record['expected'][name]
        inside = low <= value <= high
        outside += not inside
        table.add_row(name, f'{100 * value:.1f}', f'{100 * low:.1f} to {100 * high:.1f}', '' if inside else 'outside')
    console.print(table)
    runs = f'{len(record["runs"])} runs with other threads, instructions and seeds ({EXPECTED.relative_to(REPO)})'
    if outside:
        console.print(
            f'{outside} of {table.row_count} lie outside of where {runs} let 99 of 100 runs fall: '
            'another version of torch, or a fault; please tell us.'
        )
    else:
        console.print(f'All lie where {runs} let 99 of 100 runs fall.')


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(
        description='Train a small Mask R-CNN on TiedResNet and measure it under occlusion, on a CPU.',
        epilog='example:\n  python tools/demo.py --work-dir work_dirs/demo --seed 1',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='where everything goes')
    parser.add_argument('--seed', type=int, default=0, help='seed of the training (the data set keeps its own)')
    args = parser.parse_args()
    start = time.monotonic()
    data, run = args.work_dir / 'occluded_shapes', args.work_dir / f'seed{args.seed}'
    results = run / 'val'
    annotations = data / 'annotations' / 'instances_val.json'
    options = ['--work-dir', run, '--cfg-options', f'data_root={data}', f'randomness.seed={args.seed}']
    tools = REPO / 'tools'

    step('1. An embedded data set with known occlusion', [tools / 'make_occluded_shapes.py', data, '--train', '1200'])
    checkpoint = run / f'epoch_{Config.fromfile(CONFIG).train_cfg.max_epochs}.pth'
    if not checkpoint.exists():
        # --resume: an interrupted run goes on where it was.
        step(
            '2. Train Mask R-CNN on a narrow TiedResNet',
            [tools / 'train.py', CONFIG, '--resume', *options],
            run / 'train.log',
            progress,
        )
    test = [tools / 'test.py', CONFIG, checkpoint, '--json-prefix', results, *options]
    step('3. Detect on the validation images', test, run / 'test.log', progress)
    step(
        '4. AP by occlusion, of boxes and of masks',
        [
            *(tools / 'eval_occlusion.py', '--ann', annotations, '--results', f'{results}.segm.json'),
            *('--iou-type', 'bbox', 'segm', '--bootstrap', '200', '--out-dir', run),
            *('--name', f'TiedResNet, occluded shapes, seed {args.seed}'),
        ],
    )
    step(
        '5. The same as a report, with errors, intervals and the images that cost most',
        [
            *('-m', 'mmhybrid.cli', 'occlusion', 'report', '--ann', annotations, '--results', f'{results}.segm.json'),
            *(
                '--iou-type',
                'bbox',
                'segm',
                '--images',
                data / 'val',
                '--out-dir',
                run / 'report',
                '--format',
                'html',
                'json',
            ),
            *('--name', f'TiedResNet, occluded shapes, seed {args.seed}'),
        ],
        run / 'report.log',
        lambda line: line.rstrip() if line.startswith('wrote ') else None,
    )
    console.print('\n[bold]6. Are these the numbers to expect?[/bold]')
    compare(run)
    console.print(f'\nThe whole demo took {(time.monotonic() - start) / 60:.1f} min.')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        console.print('\nerror: ended by Ctrl-C; run it again, and it goes on where it was.', markup=False)
        sys.exit(128 + signal.SIGINT)
