"""One measurement of benchmarks/occlusion.py, in a process of its own: it prints a JSON object on its last line.

Steps are named by the constants below; ``sizes`` and ``write_large`` are no measurements but read or make data, here so
that the process that starts the others stays small.
"""

from __future__ import annotations

import json
import math
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

TYPES = {'bbox': ('bbox',), 'segm': ('segm',), 'bbox+segm': ('bbox', 'segm')}
RESAMPLES = 200
COPIES = 20  # of the data set, for --large
PLAIN, BINS, RATIOS = 'plain', 'mmhybrid, ten bins', 'image_ratios'
RESAMPLING, BOOTSTRAP, LARGE = f'{RESAMPLES} resamples alone', f'ten bins, {RESAMPLES} resamples', 'large, ten bins'
Values = dict[str, dict[str, list[float]]]  # IoU type -> stratum -> AP, AP50, AP75 and AR


class Clock:
    """Wall and CPU seconds, of all threads, of a ``with`` block."""

    def __enter__(self) -> Clock:
        self._start = time.perf_counter(), _cpu_seconds()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._start[0], _cpu_seconds() - self._start[1]


def run_step(step: str, engine: str | None, types: str, data_dir: str) -> dict[str, Any]:
    """One measurement, or one of the two steps around them, in this process."""
    folder = Path(data_dir)
    if step == 'sizes':
        content = json.loads((folder / 'gt.json').read_text())
        detections = len(json.loads((folder / 'bbox.json').read_text()))
        return {'images': len(content['images']), 'instances': len(content['annotations']), 'detections': detections}
    if step == 'write_large':
        write_large(folder)
        return {}
    gt, dt = str(folder / 'gt.json'), str(folder / ('bbox.json' if types == 'bbox' else 'segm.json'))
    clock = Clock()
    values: Values = {}
    if step == PLAIN:
        with clock:
            values = plain(engine, gt, dt, TYPES[types])
    elif step in (BINS, BOOTSTRAP, LARGE):
        with clock:
            values = mmhybrid_evaluate(gt, dt, TYPES[types], engine, RESAMPLES if step == BOOTSTRAP else 0)
    elif step == RATIOS:
        from mmhybrid.occlusion import image_ratios
        from mmhybrid.occlusion.read.ground_truth import load_ground_truth

        checked = load_ground_truth(gt, (types,))
        with clock:
            image_ratios(checked, 'covered', types)
    elif step == RESAMPLING:
        resample(clock, gt, dt, types, engine)
    # At most: this process and the largest of those that it started need not have been largest at the same time.
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = sum(usage.ru_maxrss for usage in usages) * (1 if sys.platform == 'darwin' else 1024)
    return {'seconds': clock.seconds, 'cpu_seconds': clock.cpu_seconds, 'peak_gb': peak / 1e9, 'values': values}


def plain(engine: str, gt: str, dt: str, iou_types: tuple[str, ...]) -> Values:
    """IoU type -> ``all`` -> AP, AP50, AP75 and AR on all images, as the evaluator's own documentation has it."""
    if engine == 'pycocotools':
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    elif engine == 'faster-coco-eval':
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    else:
        from hotcoco import COCO, COCOeval
    ground_truth = COCO(gt)
    detections = ground_truth.loadRes(dt)
    values = {}
    for iou_type in iou_types:
        evaluator = COCOeval(ground_truth, detections, iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        values[iou_type] = {'all': [float(evaluator.stats[i]) for i in (0, 1, 2, 8)]}
    return values


def mmhybrid_evaluate(gt: str, dt: str, iou_types: tuple[str, ...], engine: str, resamples: int) -> Values:
    """IoU type -> stratum -> AP, AP50, AP75 and AR."""
    from mmhybrid.occlusion import Details, evaluate

    results = evaluate(gt, dt, iou_types, by=ten_bins(), engine=engine, details=Details(resamples=resamples))
    return {
        iou_type: {row.stratum.name: [row.ap, row.ap50, row.ap75, row.ar] for row in result.strata}
        for iou_type, result in results.items()
    }


def resample(clock: Clock, gt: str, dt: str, iou_type: str, engine: str) -> None:
    """Draw and accumulate; matching is not part of it."""
    from mmhybrid.occlusion import matching
    from mmhybrid.occlusion.analysis import accumulate, bootstrap
    from mmhybrid.occlusion.analysis.study import Study
    from mmhybrid.occlusion.read.detections import load_detections

    study = Study(gt, (iou_type,), ten_bins())
    found = load_detections(dt, study.gt, (iou_type,))
    matches = matching.match(study.gt, found, iou_type, engine=engine).matches()
    with clock:
        weights = bootstrap.draw(len(matches.image_ids), RESAMPLES, seed=0)
        accumulate.metrics(matches, study.members, weights)


def ten_bins() -> Any:
    """r <= 0.1, 0.1 < r <= 0.2, ..., 0.9 < r <= 1: without the usual bin of r = 0."""
    from mmhybrid.occlusion import Selection

    return Selection(edges=(-math.inf, *(i / 10 for i in range(1, 11))), thresholds=())


def write_large(folder: Path) -> None:
    """The boxes of the data set ``COPIES`` times, with ids of their own and scores a little lower from copy to copy."""
    content = json.loads((folder / 'gt.json').read_text())
    detections = json.loads((folder / 'bbox.json').read_text())
    for annotation in content['annotations']:
        annotation.pop('segmentation', None)
    images, annotations = content['images'], content['annotations']
    shift, own = max(row['id'] for row in images), max(row['id'] for row in annotations)
    partial = folder / 'large' / 'partial'
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / 'gt.json').open('w') as file:
        file.write(f'{{"categories": {json.dumps(content["categories"])}, "images": [')
        write_rows(file, ({**row, 'id': row['id'] + copy * shift} for copy in range(COPIES) for row in images))
        file.write('], "annotations": [')
        moved = (
            {**row, 'id': row['id'] + copy * own, 'image_id': row['image_id'] + copy * shift}
            for copy in range(COPIES)
            for row in annotations
        )
        write_rows(file, moved)
        file.write(']}')
    with (partial / 'bbox.json').open('w') as file:
        file.write('[')
        moved = (
            {**row, 'image_id': row['image_id'] + copy * shift, 'score': round(row['score'] * (1 - 1e-4 * copy), 6)}
            for copy in range(COPIES)
            for row in detections
        )
        write_rows(file, moved)
        file.write(']')
    for name in ('gt.json', 'bbox.json'):
        (partial / name).replace(folder / 'large' / name)
    shutil.rmtree(partial)


def write_rows(file: TextIO, rows: Iterator[dict]) -> None:
    """JSON objects with commas between them, some thousands at a time."""
    separator = ''
    while part := list(islice(rows, 10_000)):
        file.write(separator + json.dumps(part)[1:-1])
        separator = ', '


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == '__main__':
    print('\n' + json.dumps(run_step(**json.loads(sys.argv[1]))))
