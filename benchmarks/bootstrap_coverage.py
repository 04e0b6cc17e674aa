"""Do bootstrap intervals of AP cover as often as they say?

A made-up data set (benchmarks/coco_like.py) is the population. Samples of its images are drawn without replacement,
each gets its intervals, and it is counted how many hold the mean of the metric over all samples: of plain percentiles,
of percentiles shifted to the estimate (what mmhybrid.occlusion gives), and of "basic" (reflected) intervals.

Example:
    python benchmarks/bootstrap_coverage.py --out benchmarks/results/bootstrap_coverage.json
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from coco_like import make

from mmhybrid.occlusion import matching
from mmhybrid.occlusion.analysis import accumulate, bootstrap
from mmhybrid.occlusion.matching.index import Matches
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

METRICS = ('ap', 'ap50', 'ar')


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=5000, help='in the population (default: 5000)')
    parser.add_argument('--sizes', type=int, nargs='+', default=[100, 500, 1000], help='images in a sample')
    parser.add_argument('--samples', type=int, default=100, help='of each size (default: 100)')
    parser.add_argument('--resamples', type=int, default=200, help='of each sample (default: 200)')
    parser.add_argument('--out', type=Path, help='JSON to write')
    args = parser.parse_args()
    gt, dt = make(args.images, masks=False)
    checked = load_ground_truth(gt)
    matches = matching.match(checked, load_detections(dt, checked)).matches()
    rows = []
    for size in args.sizes:
        start = time.monotonic()
        rows.append({'images': size} | coverage(matches, size, args.samples, args.resamples))
        print(json.dumps(rows[-1]), f'{time.monotonic() - start:.0f} s', flush=True)
    if args.out:
        command = f'python benchmarks/bootstrap_coverage.py {shlex.join(sys.argv[1:])}'
        document = {'command': command, 'samples': args.samples, 'resamples': args.resamples, 'nominal': 0.95}
        args.out.write_text(json.dumps(document | {'rows': rows}, indent=1) + '\n')


def coverage(matches: Matches, size: int, samples: int, resamples: int) -> dict:
    """Share of the samples whose intervals hold the mean over samples, and how far resamples lie from the estimate."""
    rng = np.random.default_rng(size)
    everything = [np.arange(size)]
    estimates, resampled = [], []
    for run in range(samples):
        part = subset(matches, rng.choice(len(matches.image_ids), size, replace=False))
        weights = bootstrap.draw(size, resamples, seed=run)
        alone, drawn = accumulate.metrics(part, everything), accumulate.metrics(part, everything, weights)
        estimates.append([alone[key][0, 0] for key in METRICS])
        resampled.append([drawn[key][:, 0] for key in METRICS])
    estimates, resampled = np.array(estimates), np.moveaxis(np.array(resampled), 2, 0)  # (S, 3), (R, S, 3)
    low, median, high = np.quantile(resampled, [0.025, 0.5, 0.975], axis=0)
    shifted = bootstrap.intervals(resampled, estimates)
    truth = estimates.mean(axis=0)
    kinds = {'percentile': (low, high), 'shifted': shifted, 'basic': (2 * estimates - high, 2 * estimates - low)}
    covered = {name: ((a <= truth) & (truth <= b)).mean(axis=0) for name, (a, b) in kinds.items()}
    return {
        key: {
            'mean': round(truth[i], 4),
            'sd': round(estimates[:, i].std(), 4),
            'sd_of_resamples': round(resampled[:, :, i].std(axis=0).mean(), 4),
            'median_of_resamples_minus_estimate': round((median - estimates)[:, i].mean(), 4),
            'coverage': {name: round(float(each[i]), 3) for name, each in covered.items()},
        }
        for i, key in enumerate(METRICS)
    }


def subset(matches: Matches, positions: np.ndarray) -> Matches:
    """The matches on these images alone."""
    positions = np.sort(positions)
    new = np.full(len(matches.image_ids), -1, dtype=np.int32)
    new[positions] = np.arange(len(positions), dtype=np.int32)
    dt, gt = new[matches.dt_image] >= 0, new[matches.gt_image] >= 0
    row = np.cumsum(gt) - 1
    taken = matches.dt_gt[:, dt]
    return replace(
        matches,
        image_ids=matches.image_ids[positions],
        dt_index=matches.dt_index[dt],
        dt_image=new[matches.dt_image][dt],
        dt_category=matches.dt_category[dt],
        dt_score=matches.dt_score[dt],
        dt_gt=np.where(taken >= 0, row[taken], -1).astype(np.int32),
        dt_ignored=matches.dt_ignored[:, dt],
        gt_image=new[matches.gt_image][gt],
        gt_category=matches.gt_category[gt],
        gt_counted=matches.gt_counted[gt],
    )


if __name__ == '__main__':
    main()
