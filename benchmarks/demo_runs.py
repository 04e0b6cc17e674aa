"""Where the numbers of ``make demo`` fall, and how fast it trains beside other work.

    python benchmarks/demo_runs.py runs    # the demo six times, 10 minutes each; what is there is kept
    python benchmarks/demo_runs.py speed   # some iterations, on a quiet machine and beside busy processes, 6 minutes

The demo's training is exact to the bit for one number of threads on one kind of processor. Other threads or vector
instructions add up in another order, and after some dozen iterations the weights differ as those of two seeds do. On
two cores, four threads gave all numbers of two, which would be no further run. Both commands write their part of
benchmarks/results/demo_runs.json, which the demo compares itself with, and README's section of it.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from scipy import stats

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from speed_bench.record import PACKAGES, hardware, version_of  # noqa: E402
from torch import device  # noqa: E402

from mmhybrid import _stack  # noqa: E402
from tools.demo import CONFIG, EXPECTED, console, headlines  # noqa: E402

# A processor without AVX-512, for those who have one.
AVX2 = {'ATEN_CPU_CAPABILITY': 'avx2', 'ONEDNN_MAX_CPU_ISA': 'AVX2', 'MKL_ENABLE_INSTRUCTIONS': 'AVX2'}
FIRST = 'one thread'  # the demo as it is
# Name -> seed, threads, further environment.
RUNS = {
    FIRST: (0, 1, {}),
    'two threads': (0, 2, {}),
    'one thread, AVX2': (0, 1, AVX2),
    'two threads, AVX2': (0, 2, AVX2),
    'one thread, seed 1': (1, 1, {}),
    'two threads, seed 1': (1, 2, {}),
}
RECORD = EXPECTED.relative_to(REPO)
README = REPO / 'README.md'
BEGIN, END = '<!-- Made by `python benchmarks/demo_runs.py`. -->', '<!-- End of what is made. -->'
ITERATIONS = 900  # of the training
CHANCE = 0.99  # of a further run to lie in an expected range
# Name -> threads, how often they look for one another before they sleep: as the tools set it, and OpenMP's default.
SPEEDS = {
    'one thread': (1, _stack.SPINS),
    'two threads that soon sleep while they wait': (2, _stack.SPINS),
    "two threads that wait as is OpenMP's default": (2, 300_000),
}
TIME = re.compile(r'Epoch\(train\) +\[1\]\[ *(\d+)/\d+\].* time: ([\d.]+)')


def folder_of(root: Path, name: str) -> Path:
    """Where a run's results are."""
    return root / re.sub(r'\W+', '_', name) / f'seed{RUNS[name][0]}'


def run(root: Path, name: str) -> None:
    """Run the demo, unless its results are there."""
    seed, threads, env = RUNS[name]
    folder = folder_of(root, name)
    if (folder / 'occlusion.json').exists():
        return
    command = [sys.executable, REPO / 'tools' / 'demo.py', '--work-dir', folder.parent, '--seed', str(seed)]
    subprocess.run(command, env={**os.environ, 'OMP_NUM_THREADS': str(threads), **env}, check=True)


def expected(values: list[float]) -> tuple[float, float]:
    """Range of a further value of the same normal distribution, with probability ``CHANCE`` (prediction interval)."""
    n = len(values)
    half = stats.t.ppf((1 + CHANCE) / 2, n - 1) * statistics.stdev(values) * (1 + 1 / n) ** 0.5
    return round(statistics.fmean(values) - half, 4), round(statistics.fmean(values) + half, 4)


def by_stratum(folder: Path) -> dict[str, dict[str, float]]:
    """AP of a run by kind of IoU and stratum."""
    results = json.loads((folder / 'occlusion.json').read_text())['results']
    return {r['iou_type']: {s['name']: round(s['ap'], 4) for s in r['strata'] if s['num_images']} for r in results}


def printed(folder: Path, annotations: Path) -> list[str]:
    """Lines of the tables that the demo prints, 80 columns wide."""
    tool, title = REPO / 'tools' / 'eval_occlusion.py', f'TiedResNet, occluded shapes, seed {RUNS[FIRST][0]}'
    with TemporaryDirectory() as scratch:
        command = [sys.executable, tool, '--ann', annotations, '--results', folder / 'val.segm.json', '--name', title]
        command += ['--iou-type', 'bbox', 'segm', '--bootstrap', '200', '--out-dir', scratch]
        done = subprocess.run(command, env={**os.environ, 'COLUMNS': '80'}, capture_output=True, text=True, check=True)
    return done.stdout.partition('\nwrote ')[0].splitlines()  # the folder is none of the demo's


def summary(root: Path) -> dict:
    """What all runs gave."""
    first = folder_of(root, FIRST)
    rows = {name: {k: round(v, 6) for k, v in headlines(folder_of(root, name)).items()} for name in RUNS}
    environments = {name: {'seed': s, 'threads': t, **env} for name, (s, t, env) in RUNS.items()}
    return dict(
        runs=[environments[name] | {'name': name, 'headlines': rows[name]} for name in RUNS],
        chance=CHANCE,
        expected={key: expected([row[key] for row in rows.values()]) for key in rows[FIRST]},
        ap={name: by_stratum(folder_of(root, name)) for name in RUNS},
        printed=printed(first, first.parent / 'occluded_shapes' / 'annotations' / 'instances_val.json'),
    )


@contextmanager
def busy(processes: int):
    """Other work: processes that never wait."""
    workers = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(processes)]
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def seconds_per_iteration(root: Path, threads: int, spins: int, iterations: int) -> dict[str, float]:
    """Seconds until the first line of a training, and of an iteration after the first five."""
    command = [
        sys.executable,
        '-u',
        REPO / 'tools' / 'train.py',
        CONFIG,
        '--work-dir',
        root / 'speed' / f'{time.time():.0f}',
        '--cfg-options',
    ]
    command += [f'data_root={root / "occluded_shapes"}', 'default_hooks.logger.interval=5']
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'GOMP_SPINCOUNT': str(spins)}
    start, times, first = time.monotonic(), [], None
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if 'Training runs: ' in line:
                first = time.monotonic() - start
            if found := TIME.search(line):
                times.append((int(found[1]), float(found[2])))
                if times[-1][0] >= iterations:
                    break
        process.send_signal(signal.SIGKILL)
    if len(times) < 2:
        raise SystemExit(f'error: the training ended by itself; run {" ".join(map(str, command))} to see why.')
    # Each line has the mean of all so far (MMEngine's window is longer than this).
    (n, mean), (total, last) = times[0], times[-1]
    return {'first_line_s': round(first, 1), 'iteration_s': round((total * last - n * mean) / (total - n), 3)}


def speed(root: Path, iterations: int) -> list[dict]:
    """Iterations of the demo's training, quiet and beside two busy processes a core."""
    tools = REPO / 'tools' / 'make_occluded_shapes.py'
    subprocess.run([sys.executable, tools, root / 'occluded_shapes', '--train', '1200'], check=True)
    rows, others = [], 2 * len(os.sched_getaffinity(0))
    for processes in (0, others):
        for name, (threads, spins) in SPEEDS.items():
            with busy(processes):
                row = seconds_per_iteration(root, threads, spins, iterations)
            rows.append({'threads': name, 'busy_processes': processes, **row})
            console.print(rows[-1])
    return rows


def section(record: dict) -> str:
    """README's section about the demo's numbers."""
    runs, speeds = record['runs'], record['speed']
    first, busy_processes = runs['runs'][0], speeds['rows'][-1]['busy_processes']
    lines = [line.rstrip() for line in runs['printed']]
    boxes = lines[: next(n for n, line in enumerate(lines) if 'segm AP' in line) - 1]
    names = '; '.join(row['name'] for row in runs['runs'])
    lines = [
        _prose(
            f'On {runs["hardware"]}, with torch {runs["versions"]["torch"]}, `make demo` prints this for boxes, and '
            'the same for masks:'
        ),
        *('', '```text', *boxes, '```', ''),
        _prose(
            'The training is exact to the bit for one number of threads on one kind of processor, and the demo takes '
            'one thread for that. Other numbers of threads, or processors with other vector instructions, add up in '
            'another order; after some dozen iterations the weights differ as those of two seeds do. '
            f'{len(runs["runs"])} runs ({names}) gave, in %:'
        ),
        '',
        f'| | {first["name"]} | all runs | expected of a further run, {runs["chance"]:.0%} |',
        '|---|---|---|---|',
    ]
    for name, (low, high) in runs['expected'].items():
        values = [row['headlines'][name] for row in runs['runs']]
        cells = [f'{100 * first["headlines"][name]:.1f}', span(min(values), max(values)), span(low, high)]
        lines.append(f'| {" | ".join([name, *cells])} |')
    lines += [
        '',
        _prose(
            f'`make demo` ends with the same table of its own run. Seconds for each of the {ITERATIONS} iterations of '
            f'its training, on {speeds["hardware"]}:'
        ),
        '',
        f'| | quiet | beside {busy_processes} busy processes |',
        '|---|---|---|',
    ]
    for name in SPEEDS:
        quiet, loaded = (
            next(r['iteration_s'] for r in speeds['rows'] if (r['threads'], r['busy_processes']) == (name, n))
            for n in (0, busy_processes)
        )
        lines.append(f'| {name} | {quiet:.2f} | {loaded:.2f} |')
    lines += ['', 'Measured by `python benchmarks/demo_runs.py runs` and `speed`', f'([record]({RECORD})).']
    return '\n'.join(lines)


def _prose(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def span(low: float, high: float) -> str:
    """A range in %."""
    return f'{100 * low:.1f} to {100 * high:.1f}'


def render(record: dict) -> None:
    """Put the section into README."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    README.write_text(before + BEGIN + '\n' + section(record) + '\n' + END + rest.partition(END)[2])


def main() -> None:
    """Run a command and write its part of the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'part', choices=['runs', 'speed'], help='what to measure; once both are there, README is written, too'
    )
    parser.add_argument('--root', type=Path, default=Path('work_dirs/demo_runs'), help='where the runs are')
    parser.add_argument('--iterations', type=int, default=15, help='of speed (15)')
    parser.add_argument('--out', type=Path, default=EXPECTED)
    args = parser.parse_args()
    header = dict(
        command=f'python benchmarks/demo_runs.py {args.part}',
        hardware=re.sub(r', \d+ threads?', '', hardware(device('cpu'))),
        versions={name: version_of(name) for name in PACKAGES},
    )
    if args.part == 'runs':
        for name in RUNS:
            run(args.root, name)
        content = header | summary(args.root)
    else:
        content = header | dict(rows=speed(args.root, args.iterations))
    record = json.loads(args.out.read_text()) if args.out.exists() else {}
    record[args.part] = content
    args.out.write_text(json.dumps(record, indent=1) + '\n')
    if len(record) == 2 and args.out == EXPECTED:
        render(record)
    console.print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
