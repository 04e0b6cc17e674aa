"""The main job in small: make the data set, train, test, and measure under occlusion. ``make demo`` runs it.

Each step is a command of this project, printed before it runs, with its whole output in a log. What is done already is
not done again: delete the work dir to start over.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from mmhybrid import _stack

_stack.require_or_exit()

from mmengine.config import Config  # noqa: E402
from rich.console import Console  # noqa: E402

REPO = Path(__file__).resolve().parent.parent
CONFIG = REPO / 'configs' / 'demo_mask_rcnn_tiedresnet_occluded_shapes.py'
console = Console(highlight=False)


def step(
    title: str, command: list[str | Path], log: Path | None = None, show: Callable[[str], str | None] = str
) -> None:
    """Run a tool; with a log, print only what ``show`` makes of a line."""
    words = [str(word) for word in command]
    console.print(f'\n[bold]{title}[/bold]\n$ python {shlex.join(words)}', soft_wrap=True)
    start = time.monotonic()
    if log is None:
        returncode = subprocess.run([sys.executable, *words]).returncode
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            log.open('w') as out,
            subprocess.Popen(
                [sys.executable, '-u', *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process,
        ):
            for line in process.stdout:
                out.write(line)
                if (text := show(line)) is not None:
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


def progress(line: str) -> str | None:
    """The part of MMEngine's log lines that tells how far a run is."""
    for phase in ('Epoch(train)', 'Epoch(val)', 'Epoch(test)'):
        if phase in line and 'time' in line:
            words = line[line.index(phase) :].split()
            wanted = ('eta:', 'loss:', 'coco/bbox_mAP:', 'coco/bbox_mAP_50:')
            pairs = [f'{a} {b}' for a, b in pairwise(words) if a in wanted]
            head = line[line.index(phase) :].split('  ')[0].strip()
            return '  '.join([head, *pairs])
    return None


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
            *('--iou-type', 'bbox', 'segm', '--out-dir', run),
            *('--name', f'TiedResNet, occluded shapes, seed {args.seed}'),
        ],
    )
    step(
        '5. The same as a report, with errors, intervals and the images that cost most',
        [
            *('-m', 'mmhybrid.cli', 'occlusion', 'report', '--ann', annotations, '--results', f'{results}.segm.json'),
            *('--iou-type', 'bbox', 'segm', '--images', data / 'val', '--out-dir', run / 'report', '--format', 'html'),
            *('--name', f'TiedResNet, occluded shapes, seed {args.seed}'),
        ],
        run / 'report.log',
        lambda line: line.rstrip() if line.startswith('wrote ') else None,
    )
    console.print(f'\nThe whole demo took {(time.monotonic() - start) / 60:.1f} min.')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        console.print('\nerror: ended by Ctrl-C; run it again, and it goes on where it was.', markup=False)
        sys.exit(128 + signal.SIGINT)
