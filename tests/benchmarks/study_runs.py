"""Run folders as the study keeps them, made by hand; benchmarks/ is no package and is put where Python looks."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from study import plan, runs  # noqa: E402


def finish(root, run, detections=(), **changes):
    """A run folder as `runs.do` leaves it."""
    folder = run.folder(root)
    folder.mkdir(parents=True)
    made = dict(
        settings=plan.described(run.size), parameters=7, seconds=dict(train=60.0), hardware='a CPU', commit='abc',
        versions=dict(torch='torch 1'), overall={'coco/bbox_mAP': 0.123},
    )  # fmt: skip
    (folder / 'run.json').write_text(json.dumps({**made, **changes}))
    results = folder / 'results.json'
    results.write_text(json.dumps(list(detections)))
    (folder / runs.DETECTIONS).write_bytes(runs.keep(results)[0])


def detection(image_id, category_id, box, score):
    return dict(image_id=image_id, category_id=category_id, bbox=list(box), score=score)
