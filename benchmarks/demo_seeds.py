"""Is the demo's fall of AP with occlusion larger than the noise between seeds?

    python tools/demo.py --seed 0 && python tools/demo.py --seed 1
    python benchmarks/demo_seeds.py work_dirs/demo/seed0 work_dirs/demo/seed1

compares the runs stratum by stratum and writes benchmarks/results/demo_seeds.json.
"""

import argparse
import json
import platform
import shlex
import sys
from pathlib import Path

import torch

REPO = Path(__file__).resolve().parent.parent


def bins(run: Path, iou_type: str) -> dict[str, dict]:
    """The bins with images of one run."""
    results = json.loads((run / 'occlusion.json').read_text())['results']
    strata = next(r for r in results if r['iou_type'] == iou_type)['strata']
    return {s['name']: s for s in strata if s['kind'] == 'bin' and s['num_images']}


def compare(runs: list[Path], iou_type: str, metric: str) -> dict:
    """One metric of all runs by bin, the largest difference between runs, and the smallest fall of a run."""
    values = [{name: s[metric] for name, s in bins(run, iou_type).items()} for run in runs]
    names = list(values[0])
    return dict(
        by_bin={name: [round(v[name], 4) for v in values] for name in names},
        largest_difference_between_seeds=round(max(abs(a[n] - b[n]) for a in values for b in values for n in names), 4),
        smallest_fall_from_first_to_last_bin=round(min(v[names[0]] - v[names[-1]] for v in values), 4),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', type=Path, help="the demo's folders, one a seed")
    parser.add_argument('--out', type=Path, default=REPO / 'benchmarks' / 'results' / 'demo_seeds.json')
    args = parser.parse_args()
    report = dict(
        hardware=f'{platform.machine()} CPU, {torch.get_num_threads()} threads',
        torch=torch.__version__,
        commands=[
            'python tools/demo.py --seed N',
            f'python benchmarks/{Path(__file__).name} {shlex.join(sys.argv[1:])}',
        ],
        seeds=[run.name for run in args.runs],
        images_per_bin={name: s['num_images'] for name, s in bins(args.runs[0], 'bbox').items()},
    )
    for iou_type in ('bbox', 'segm'):
        for metric in ('ap', 'ap50'):
            report[f'{iou_type}_{metric}'] = row = compare(args.runs, iou_type, metric)
            noise, fall = row['largest_difference_between_seeds'], row['smallest_fall_from_first_to_last_bin']
            print(f'{iou_type} {metric}: falls by {fall:.3f} at least; seeds differ by {noise:.3f} at most')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + '\n')
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
