"""Made-up scenes in the layouts of the amodal data sets as these are published, and what they mean, drawn by NumPy."""

import numpy as np
from pycocotools import mask

SIZE = 96, 128  # height, width
CATEGORIES = [{'id': 1, 'name': 'car'}, {'id': 4, 'name': 'van'}]


def polygon(box):
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def pixels(box):
    """The box as an image, ``SIZE`` bool."""
    x, y, w, h = box
    drawn = np.zeros(SIZE, dtype=bool)
    drawn[y : y + h, x : x + w] = True
    return drawn


def encoded(drawn):
    rle = mask.encode(np.asfortranarray(drawn.astype(np.uint8)))
    return {'size': list(SIZE), 'counts': rle['counts'].decode()}


def scene(seed, num_images=6):
    """``(rows, dt)``: of each instance image, category, whole and visible box, a third of them fully visible and one in
    ten without a visible pixel; and detections near the whole ones, with masks."""
    rng = np.random.default_rng(seed)
    rows, dt = [], []
    for image_id in range(1, num_images + 1):
        for _ in range(int(rng.integers(3, 7))):
            whole = [*rng.integers(0, (80, 56)).tolist(), *rng.integers(8, (48, 40)).tolist()]
            kind, seen = rng.random(), list(whole)
            if kind > 1 / 3:
                seen[2] = 0 if kind > 0.9 else int(rng.integers(1, whole[2] + 1))
            category = int(rng.choice([1, 4]))
            rows.append((image_id, category, whole, seen))
            for like in [whole, seen][: int(rng.integers(0, 3))]:
                box, other = np.maximum(np.array(like) + rng.integers(-3, 4, (2, 4)), [0, 0, 1, 1]).tolist()
                row = {'image_id': image_id, 'category_id': category, 'score': round(float(rng.random()), 2)}
                dt.append(row | {'bbox': other, 'segmentation': encoded(pixels(box))})
    return rows, dt


# Name -> the fields of an instance with this whole and visible box.
LAYOUTS = {
    'synthetic': lambda a, v: {
        'segmentation': encoded(pixels(v)),
        'bbox': v,
        'area': v[2] * v[3],
        'amodal_segmentation': encoded(pixels(a)),
        'amodal_bbox': a,
        'amodal_area': a[2] * a[3],
    },
    'KINS 2019': lambda a, v: {
        'segmentation': polygon(a),
        'bbox': a,
        'area': a[2] * a[3],
        'inmodal_seg': encoded(pixels(v)),
        'inmodal_bbox': v,
    },
    'KINS 2020': lambda a, v: {
        'a_segm': polygon(a),
        'a_bbox': a,
        'a_area': a[2] * a[3],
        'i_segm': encoded(pixels(v)) if 0 in v else polygon(v),
        'i_bbox': v,
        'i_area': v[2] * v[3],
        'ico_id': 0,
        'oco_id': 0,
    },
    'COCOA': lambda a, v: (
        {'segmentation': polygon(a), 'bbox': a, 'area': a[2] * a[3], 'occlude_rate': 0.5}
        | ({} if a == v else {'visible_mask': encoded(pixels(v)), 'invisible_mask': encoded(pixels(a) & ~pixels(v))})
    ),
    'D2SA': lambda a, v: {
        'segmentation': encoded(pixels(a)),
        'bbox': a,
        'area': a[2] * a[3],
        'visible_mask': encoded(pixels(v)),
    },
    'AIStron': lambda a, v: {
        'segmentation': polygon(a),
        'bbox': a,
        'area': a[2] * a[3],
        'amodal_segm': encoded(pixels(a)),
        'amodal_bbox': a,
        'visible_segm': encoded(pixels(v)),
        'visible_bbox': a,
    },
}


def ground_truth(rows, layout):
    """The instances of :func:`scene` as a file in one of ``LAYOUTS``."""
    ids = range(1, max(row[0] for row in rows) + 1)
    return {
        'images': [{'id': i, 'file_name': f'{i}.png', 'height': SIZE[0], 'width': SIZE[1]} for i in ids],
        'categories': CATEGORIES,
        'annotations': [
            {'id': i, 'image_id': image_id, 'category_id': category, 'iscrowd': 0} | LAYOUTS[layout](whole, seen)
            for i, (image_id, category, whole, seen) in enumerate(rows, start=1)
        ],
    }


def converted(rows, masks, kept=None):
    """A plain COCO file of the whole (``'amodal'``) or the visible masks; those not ``kept`` ``(n,)`` are crowds."""
    gt = ground_truth(rows, 'synthetic')
    for i, (row, (_, _, whole, seen)) in enumerate(zip(gt['annotations'], rows, strict=True)):
        drawn = pixels(whole if masks == 'amodal' else seen)
        row |= {'segmentation': encoded(drawn), 'bbox': around(drawn), 'area': int(drawn.sum())}
        row['iscrowd'] = int(kept is not None and not kept[i])
    return gt


def around(drawn):
    """The box of an image's pixels, four zeros without any."""
    y, x = np.nonzero(drawn)
    return [int(x.min()), int(y.min()), int(np.ptp(x) + 1), int(np.ptp(y) + 1)] if len(x) else [0, 0, 0, 0]


def hidden(rows):
    """``(n,)`` hidden shares, pixel by pixel."""
    return np.array([1 - (pixels(seen) & pixels(whole)).sum() / pixels(whole).sum() for _, _, whole, seen in rows])
