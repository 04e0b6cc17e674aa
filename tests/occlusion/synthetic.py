"""Random COCO data sets with what makes evaluation hard, and plain pycocotools as the reference."""

import contextlib
import copy
import io

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = 64
CATEGORIES = (3, 7, 20, 21)  # 21 never has ground truth


def rectangle(box):
    """Compressed run-length encoding of a box, clipped to the image."""
    x, y, w, h = (round(value) for value in box)
    pixels = np.zeros((SIZE, SIZE), dtype=np.uint8, order='F')
    pixels[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 1
    rle = mask.encode(pixels)
    return {'size': rle['size'], 'counts': rle['counts'].decode()}


def dataset(seed, num_images=14, masks=False, many=True):
    """``(gt, dt)``: crowds, equal scores, empty images, a category without gt, over 100 detections in an image."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(1, 10 * num_images, 9))[:num_images].tolist()
    images = [{'id': i, 'height': SIZE, 'width': SIZE} for i in ids]
    annotations, results = [], []
    for position, image_id in enumerate(ids):
        count = int(rng.integers(1, 9)) if position % 5 else int(rng.integers(0, 2))
        for _ in range(count):
            box = np.append(rng.integers(0, 40, 2), rng.integers(4, 24, 2)).astype(float)
            annotation = {
                'id': 100 + len(annotations),
                'image_id': image_id,
                'category_id': int(rng.choice(CATEGORIES[:-1])),
                'bbox': box.tolist(),
                'area': float(box[2] * box[3]),
                'iscrowd': int(rng.random() < 0.12),
            }
            if masks:
                x, y, w, h = box.tolist()
                polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
                annotation['segmentation'] = rectangle(box) if annotation['iscrowd'] else [polygon]
            annotations.append(annotation)
            for _ in range(int(rng.integers(0, 4))):
                results.append(_detection(rng, image_id, annotation['category_id'], box + rng.normal(0, 1.5, 4), masks))
        extra = 130 if many and position == 1 else int(rng.integers(0, 4))
        category = annotations[-1]['category_id'] if annotations else CATEGORIES[0]
        for _ in range(extra):
            box = np.append(rng.uniform(0, 40, 2), rng.uniform(4, 24, 2))
            chosen = category if extra == 130 else int(rng.choice(CATEGORIES))
            results.append(_detection(rng, image_id, chosen, box, masks))
    categories = [{'id': i, 'name': str(i)} for i in CATEGORIES]
    rng.shuffle(results)
    return {'images': images, 'annotations': annotations, 'categories': categories}, results


def _detection(rng, image_id, category_id, box, masks):
    box = [*box[:2].tolist(), *np.maximum(box[2:], 1).tolist()]
    row = {'image_id': image_id, 'category_id': category_id, 'bbox': box, 'score': round(float(rng.random()), 1)}
    return row | ({'segmentation': rectangle(box)} if masks else {})


def reference(gt, dt, image_ids, iou_type='bbox'):
    """AP, AP50, AP75, AR of a fresh, default pycocotools run on a data set of these images alone."""
    return [reference_metrics(gt, dt, image_ids, iou_type)[i] for i in (0, 1, 2, 6)]


def reference_metrics(gt, dt, image_ids, iou_type='bbox'):
    """The same, with AP of small, medium and large instances before AR."""
    kept = set(image_ids)
    part = {
        'images': [image for image in gt['images'] if image['id'] in kept],
        'annotations': [row for row in gt['annotations'] if row['image_id'] in kept],
        'categories': gt['categories'],
    }
    results = copy.deepcopy([row for row in dt if row['image_id'] in kept])
    if iou_type == 'segm':
        for row in results:
            del row['bbox']
    with contextlib.redirect_stdout(io.StringIO()):
        coco_gt = COCO()
        coco_gt.dataset = copy.deepcopy(part)
        coco_gt.createIndex()
        if results:
            coco_dt = coco_gt.loadRes(results)
        else:  # loadRes fails on an empty list
            coco_dt = COCO()
            coco_dt.dataset = part | {'annotations': []}
            coco_dt.createIndex()
        evaluator = COCOeval(coco_gt, coco_dt, iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float('nan') if value == -1 else value for value in evaluator.stats[[0, 1, 2, 3, 4, 5, 8]]]


def hard_dataset(seed, masks=False, num_images=9):
    """``(gt, dt)`` where engines could differ: everything of :func:`dataset`, and

    ids that are negative or huge and in no order; boxes on a grid, so that IoUs are equal to each other and to
    thresholds; repeated boxes; boxes without area; areas at COCO's size limits and beyond its largest; scores that
    are negative, 0 or -0, with ties in an image and across images; classes that the image does not have.
    """
    rng = np.random.default_rng(seed)
    ids = rng.choice([*range(-5, 20), 2**40, 2**53 + 1], num_images, replace=False).tolist()
    categories = rng.choice([-3, 1, 2, 7, 1000, 2**41], int(rng.integers(1, 5)), replace=False).tolist()
    areas = [0.0, 1023.999, 1024.0, 1024.001, 9215.999, 9216.0, 9216.001, 1e10, 1.0000001e10, None]
    scores = [-1.5, -0.25, -0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 3.0]
    annotations, results = [], []

    def grid_box(smallest):
        return [*rng.integers(0, 9, 2) * 4.0, *rng.integers(smallest, 7, 2) * 4.0]

    def detection(image_id, category_id, box):
        row = {'image_id': image_id, 'category_id': category_id, 'bbox': [float(value) for value in box]}
        row['score'] = float(rng.choice(scores)) if rng.random() < 0.8 else float(rng.random())
        results.append(row | ({'segmentation': rectangle(box)} if masks else {}))

    for image_id in ids:
        for _ in range(int(rng.choice([0, 1, 3, 8]))):
            repeated = annotations and rng.random() < 0.2
            box = annotations[-1]['bbox'] if repeated else grid_box(0 if rng.random() < 0.2 else 1)
            area = areas[int(rng.integers(len(areas)))] if rng.random() < 0.5 else None
            annotation = {
                'id': int(rng.choice([-1, 1]) * (2**54 + len(annotations))),
                'image_id': image_id,
                'category_id': int(rng.choice(categories)),
                'bbox': [float(value) for value in box],
                'area': float(box[2] * box[3]) if area is None else area,
                'iscrowd': int(rng.random() < 0.15),
            }
            if masks:
                annotation['segmentation'] = rectangle(box)
            annotations.append(annotation)
            for _ in range(int(rng.integers(0, 4))):
                shift = [*rng.integers(-1, 2, 2) * 4.0, *rng.integers(-1, 2, 2) * 4.0]
                detection(image_id, annotation['category_id'], np.maximum(np.add(box, shift), 0))
        for _ in range(int(rng.choice([0, 2, 6]))):
            detection(image_id, int(rng.choice(categories)), grid_box(0))
        if rng.random() < 0.1:
            category_id = int(rng.choice(categories))
            for _ in range(120):
                detection(image_id, category_id, grid_box(1))
    if not masks and results and rng.random() < 0.3:
        results[0]['bbox'] = [0.0, 0.0, 2e5, 1e5]  # beyond COCO's largest area
    if not results:
        detection(ids[0], categories[0], grid_box(1))
    rng.shuffle(results)
    images = [{'id': i, 'height': SIZE, 'width': SIZE} for i in ids]
    return {
        'images': images,
        'annotations': annotations,
        'categories': [{'id': i, 'name': str(i)} for i in categories],
    }, results
