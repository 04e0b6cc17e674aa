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
    return [float('nan') if value == -1 else value for value in evaluator.stats[[0, 1, 2, 8]]]
