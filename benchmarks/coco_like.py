"""A made-up COCO data set and results file of any size, for timing only: val2017's numbers by default.

Boxes, scores and masks are random, with COCO's spread of instances per image, sizes and categories; nothing about the
accuracy of a model can be read from them. Every image has ``detections`` detections, as detectors write them.

Example:
    python benchmarks/coco_like.py --out-dir work_dirs/coco_like --images 5000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 480, 640
CATEGORIES = 80
POINTS = 28  # of a mask's outline


def main() -> None:
    """Write ``gt.json``, ``bbox.json`` and ``segm.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out-dir', type=Path, required=True, help='where gt.json, bbox.json and segm.json go')
    parser.add_argument('--images', type=int, default=5000, help='default: 5000, as val2017')
    parser.add_argument('--instances', type=float, default=7.2, help='per image on average (default: 7.2)')
    parser.add_argument('--detections', type=int, default=100, help='per image (default: 100)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--no-masks', action='store_true', help='boxes only')
    args = parser.parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    ground_truth, detections = make(args.images, args.instances, args.detections, args.seed, not args.no_masks)
    (args.out_dir / 'gt.json').write_text(json.dumps(ground_truth))
    boxes = [{key: value for key, value in row.items() if key != 'segmentation'} for row in detections]
    (args.out_dir / 'bbox.json').write_text(json.dumps(boxes))
    if not args.no_masks:
        (args.out_dir / 'segm.json').write_text(json.dumps(detections))
    print(f'{len(ground_truth["annotations"]):,} instances, {len(detections):,} detections in {args.out_dir}')


def make(
    num_images: int, instances: float = 7.2, per_image: int = 100, seed: int = 0, masks: bool = True
) -> tuple[dict, list[dict]]:
    """Ground truth and results.

    Args:
        num_images: Images, of 640 x 480 pixels.
        instances: Mean number of instances an image.
        per_image: Detections an image.
        seed: Seed of NumPy's generator.
        masks: Whether to give outlines (ground truth) and run-length encodings (results).
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, CATEGORIES + 1)
    popularity /= popularity.sum()
    annotations, detections = [], []
    for image_id in range(1, num_images + 1):
        count = min(int(rng.geometric(1 / (instances + 1))) - 1, 80)
        kinds = rng.choice(CATEGORIES, size=max(1, count // 4 + 1), p=popularity) + 1
        boxes, categories = _boxes(rng, count), rng.choice(kinds, size=count)
        crowd = rng.random(count) < 0.01
        outlines = _outlines(rng, boxes)
        for box, category, iscrowd, outline in zip(boxes, categories, crowd, outlines, strict=True):
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image_id,
                    'category_id': int(category),
                    'bbox': box.round(2).tolist(),
                    'area': float(round(0.75 * box[2] * box[3], 2)),
                    'iscrowd': int(iscrowd),
                    **({'segmentation': [outline.round(2).tolist()]} if masks else {}),
                }
            )
        # Each instance found up to twice, the rest background, and one in ten with another category.
        source = np.concatenate([np.arange(count), np.arange(count)])[:per_image]
        found = boxes[source] + rng.normal(0, 0.06, (len(source), 4)) * np.tile(boxes[source, 2:], 2)
        rest = _boxes(rng, per_image - len(source))
        labels = np.concatenate([categories[source], rng.choice(kinds, size=len(rest))])
        wrong = rng.random(per_image) < 0.1
        labels[wrong] = rng.integers(1, CATEGORIES + 1, wrong.sum())
        scores = np.concatenate([rng.beta(4, 2, len(source)), rng.beta(1, 6, len(rest))])
        boxes = np.concatenate([_clipped(found), rest])
        rles = _encode(_outlines(rng, boxes)) if masks else [None] * per_image
        for box, category, score, rle in zip(boxes, labels, scores, rles, strict=True):
            detections.append(
                {
                    'image_id': image_id,
                    'category_id': int(category),
                    'bbox': box.round(2).tolist(),
                    'score': float(round(score, 6)),
                    **({'segmentation': rle} if masks else {}),
                }
            )
    ground_truth = {
        'images': [
            {'id': i, 'file_name': f'{i:012d}.jpg', 'height': HEIGHT, 'width': WIDTH} for i in range(1, num_images + 1)
        ],
        'categories': [{'id': i, 'name': f'category {i}'} for i in range(1, CATEGORIES + 1)],
        'annotations': annotations,
    }
    return ground_truth, detections


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    size = np.exp(rng.normal(4.0, 0.9, (count, 1)) + rng.normal(0, 0.35, (count, 2)))
    size = np.clip(size, 6, [WIDTH - 2, HEIGHT - 2])
    # Instances come in heaps, as people do.
    centre = rng.normal([WIDTH / 2, HEIGHT / 2], [WIDTH / 5, HEIGHT / 6], (count, 2))
    return _clipped(np.concatenate([centre - size / 2, size], axis=1))


def _clipped(boxes: np.ndarray) -> np.ndarray:
    low = np.clip(boxes[:, :2], 0, [WIDTH - 6, HEIGHT - 6])
    size = np.clip(boxes[:, 2:], 5, [WIDTH, HEIGHT] - low)
    return np.concatenate([low, size], axis=1)


def _outlines(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """``(n, 2 * POINTS)`` wobbly ellipses in the boxes, as COCO polygons."""
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    radius = rng.uniform(0.75, 1.0, (len(boxes), POINTS))
    unit = np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=-1)
    points = boxes[:, None, :2] + boxes[:, None, 2:] * (0.5 + 0.5 * unit)
    return points.reshape(len(boxes), 2 * POINTS)


def _encode(outlines: np.ndarray) -> list[dict]:
    from pycocotools import mask

    rles = mask.frPyObjects(outlines.tolist(), HEIGHT, WIDTH)
    return [{'size': rle['size'], 'counts': rle['counts'].decode()} for rle in rles]


if __name__ == '__main__':
    main()
