"""Data sets with lists of instances as Occluded COCO and Separated COCO have them."""

import numpy as np
from pycocotools import mask

from .synthetic import SIZE

CLASSES = {3: 'person', 7: 'hair drier', 90: 'cup'}


def encoded(pixels):
    """Run lengths of ``(h, w)`` pixels, with counts as bytes."""
    return mask.encode(np.asfortranarray(pixels, dtype=np.uint8))


def blob(rng):
    """A rectangle, often cut apart by a bar, as behind an occluder."""
    pixels = np.zeros((SIZE, SIZE), dtype=np.uint8)
    x, y, w, h = *rng.integers(0, 40, 2), *rng.integers(6, 24, 2)
    pixels[y : y + h, x : x + w] = 1
    if rng.random() < 0.5:
        pixels[:, x + w // 2 : x + w // 2 + 2] = 0
    return pixels


def noisy(rng, pixels):
    """About the same mask: moved by a pixel or with some pixels more or less."""
    moved = np.roll(pixels, rng.integers(0, 2), axis=rng.integers(2))
    return np.where(rng.random(pixels.shape) < rng.choice([0, 0.003, 0.05]), 1 - moved, moved)


def dataset(seed, num_images=12):
    """``(gt, dt, occluded, separated)``: COCO ground truth and results, and two lists with ties, thresholds met to the
    digit, masks without pixels, several instances of a class on an image, and an image without any detection."""
    rng = np.random.default_rng(seed)
    images = [{'id': 10 * i + 7, 'file_name': f'{i:012}.jpg', 'height': SIZE, 'width': SIZE} for i in range(num_images)]
    categories = [{'id': i, 'name': name} for i, name in CLASSES.items()]
    results, lists = [], ([], [])
    for position, image in enumerate(images):
        for number in range(int(rng.integers(1, 6))):
            category, pixels = int(rng.choice(list(CLASSES))), blob(rng)
            if rng.random() < 0.05:
                pixels[:] = 0
            box = mask.toBbox(encoded(pixels)).tolist()
            entry = (image['file_name'], CLASSES[category], number, np.array(box), encoded(pixels))
            lists[int(rng.integers(2))].append(entry)
            for _ in range(int(rng.integers(0, 4)) if position != 3 else 0):
                shown = category if rng.random() < 0.8 else int(rng.choice(list(CLASSES)))
                score = float(rng.choice([0.3, 0.29999, 0.5, 0.9]))
                rle = encoded(noisy(rng, pixels))
                rle = {'size': rle['size'], 'counts': rle['counts'].decode()}
                results.append({'image_id': image['id'], 'category_id': shown, 'score': score, 'segmentation': rle})
    rng.shuffle(results)
    return {'images': images, 'categories': categories, 'annotations': []}, results, *lists


def plain(entries):
    """Entries as JSON has them."""
    return [
        [name, kind, number, np.asarray(box).tolist(), {'size': rle['size'], 'counts': rle['counts'].decode()}]
        for name, kind, number, box, rle in entries
    ]


def by_hand(gt, dt, entries, score_thr=0.3, iou_thr=0.75):
    """Whether each entry is found, pixel by pixel."""
    found = []
    for name, kind, _, _, rle in entries:
        image = next(image['id'] for image in gt['images'] if image['file_name'] == name)
        own, hit = mask.decode(rle).astype(bool), False
        for row in dt:
            if row['image_id'] == image and CLASSES[row['category_id']] == kind and row['score'] >= score_thr:
                theirs = mask.decode(row['segmentation']).astype(bool)
                union = (own | theirs).sum()
                hit |= bool(union and (own & theirs).sum() / union >= iou_thr)
        found.append(hit)
    return np.array(found)
