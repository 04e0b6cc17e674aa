"""Pedestrians in the layout of CityPersons, KAIST and Caltech, and the protocols of their scripts as plain loops.

Read off the scripts (eval_MR_multisetup.py of CityPersons, evaluation_script.py of MLPD, dbEval.m and bbGt.m for
Caltech) and written down anew, over single detections, without what is tested.
"""

import math

import numpy as np

INF = math.inf
ROUNDED = (0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0)
DAY, NIGHT = ('set06', 'set07', 'set08'), ('set09', 'set10', 'set11')
# Of each protocol: what its strata hold; both bounds are inside.
STRATA = {
    'citypersons': {
        'reasonable': dict(h=(50, INF), v=(0.65, 1)),
        'bare': dict(h=(50, INF), v=(0.9, 1)),
        'partial': dict(h=(50, INF), v=(0.65, 0.9)),
        'heavy': dict(h=(50, INF), v=(0, 0.65)),
        'heavy, v >= 0.2': dict(h=(50, INF), v=(0.2, 0.65)),
        'small': dict(h=(50, 75), v=(0.65, 1)),
        'all': dict(h=(20, INF), v=(0.2, 1)),
    },
    'kaist': {
        'reasonable': dict(h=(55, INF), levels=(0, 1)),
        'reasonable, day': dict(h=(55, INF), levels=(0, 1), names=DAY),
        'reasonable, night': dict(h=(55, INF), levels=(0, 1), names=NIGHT),
        'near': dict(h=(115, INF), levels=(0,)),
        'medium': dict(h=(45, 115), levels=(0,)),
        'far': dict(h=(1, 45), levels=(0,)),
        'no occlusion': dict(h=(1, INF), levels=(0,)),
        'partial': dict(h=(1, INF), levels=(1,)),
        'heavy': dict(h=(1, INF), levels=(2,)),
        'all': dict(h=(20, INF), levels=(0, 1, 2)),
    },
    'caltech': {
        'reasonable': dict(h=(50, INF), v=(0.65, 1)),
        'no occlusion': dict(h=(50, INF), v=(1, 1)),
        'partial': dict(h=(50, INF), v=(0.65, math.nextafter(1, 0))),
        'heavy': dict(h=(50, INF), v=(0.2, 0.65)),
        'near': dict(h=(80, INF), v=(1, 1)),
        'medium': dict(h=(30, 80), v=(1, 1)),
        'far': dict(h=(20, 30), v=(1, 1)),
        'all': dict(h=(20, INF), v=(0.2, 1)),
    },
}
RULES = {
    'citypersons': dict(margin=1.25, limit=1000, end=True),
    'kaist': dict(border=(5, 5, 635, 507), limit=1000, end=True, skips_empty=True),
    'caltech': dict(border=(5, 5, 635, 475), margin=1.25, aspect=0.41, fppi=[10 ** (i / 4 - 2) for i in range(9)]),
}


def miss_rate(content, results, protocol, stratum, by_definition=False):
    """MR^-2 of a stratum by the script, or by the definition; NaN without an instance."""
    rules = RULES[protocol] | STRATA[protocol][stratum]
    images = [each for each in content['images'] if _name(each).startswith(rules.get('names', ''))]
    rows, total = [], 0
    for image in sorted(images, key=lambda each: each['id']):
        seen = [row for row in results if row['image_id'] == image['id'] and row['category_id'] == 1]
        seen = _looked_at(sorted(seen, key=lambda row: -row['score']), rules, by_definition)
        if not seen and rules.get('skips_empty') and not by_definition:
            continue
        people = [a for a in content['annotations'] if a['image_id'] == image['id'] and a['category_id'] == 1]
        counted = [_shaped(a['bbox'], rules) for a in people if _counts(a, rules)]
        regions = [a['bbox'] for a in people if not _counts(a, rules)]
        total += len(counted)
        rows += _judged(seen, counted, regions, rules)
    if not total:
        return math.nan
    curve, right, wrong = [], 0, 0
    for _, is_right in sorted(rows, key=lambda row: -row[0]):
        right, wrong = right + is_right, wrong + (not is_right)
        curve.append((wrong / len(images), 1 - right / total))
    found = []
    for fppi in rules.get('fppi', ROUNDED):
        before = [miss for at, miss in curve if at <= fppi]
        end = curve[-1][1] if curve and rules.get('end') and not by_definition else 1.0
        found.append(before[-1] if before else end)
    return math.exp(sum(map(math.log, found)) / 9) if all(found) else 0.0


def _looked_at(ranked, rules, by_definition):
    limit = rules.get('limit', 10**9)
    if 'margin' in rules:
        low, high = rules['h'][0] / rules['margin'], rules['h'][1] * rules['margin']
        ranked = ranked if by_definition else ranked[:limit]
        ranked = [row for row in ranked if low <= row['bbox'][3] < high]
    return ranked[:limit]


def _counts(a, rules):
    x, y, width, height = a['bbox']
    left, top, right, bottom = rules.get('border', (-INF, -INF, INF, INF))
    inside = x >= left and y >= top and x + width <= right and y + height <= bottom
    seen = rules['v'][0] <= a['vis_ratio'] <= rules['v'][1] if 'v' in rules else a['occlusion'] in rules['levels']
    return inside and seen and rules['h'][0] <= height <= rules['h'][1] and not a.get('ignore', 0)


def _judged(seen, counted, regions, rules):
    free = dict(enumerate(counted))
    for row in seen:
        box, best, most = _shaped(row['bbox'], rules), None, 0.5
        for number, other in free.items():
            both = _overlap(box, other)
            iou = both / (box[2] * box[3] + other[2] * other[3] - both)
            if iou >= most:
                best, most = number, iou
        if best is not None:
            del free[best]
            yield row['score'], True
        elif not any(_overlap(box, region) / (box[2] * box[3]) >= 0.5 for region in regions):
            yield row['score'], False


def _overlap(a, b):
    width, height = (min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    return max(width, 0) * max(height, 0)


def _shaped(box, rules):
    if 'aspect' not in rules:
        return box
    x, y, width, height = box
    return [x + (width - rules['aspect'] * height) / 2, y, rules['aspect'] * height, height]


def _name(image):
    return image.get('im_name') or image['file_name']


def dataset(seed, protocol, crowd=False):
    """``(gt, dt)``: ignored instances, numbers exactly at the bounds, detections at the margins, equal scores, images
    without detections or with those of another category alone, a best detection that is false, perhaps none at all;
    with a ``crowd``, more than 1000 detections on an image."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    ids = (rng.permutation(3 * count)[:count] + (protocol != 'kaist')).tolist()
    field = 'file_name' if protocol == 'caltech' else 'im_name'
    images = [{'id': i, field: f'set{rng.integers(6, 12):02d}/V000/I{i:05d}'} for i in ids]
    annotations, results = [], []
    for image_id in ids:
        for _ in range(int(rng.integers(0, 7))):
            a = _instance(rng, len(annotations) + 1, image_id)
            annotations.append(a)
            results += [_found(rng, a) for _ in range(int(rng.integers(0, 3)))]
        results += [_elsewhere(rng, image_id) for _ in range(int(rng.integers(0, 4)))]
    if crowd:
        results += [_elsewhere(rng, ids[0], ndigits=2) | {'category_id': 1} for _ in range(1400)]
    if seed % 3 == 0:
        first = {'image_id': ids[0], 'category_id': 1, 'bbox': [0.0, 0.0, 25.0, 60.0], 'score': 1.0}
        results.append(first | {'score': 1.5 - seed % 2})
    gone = set(rng.permutation(ids)[: count // 3].tolist()) if seed % 2 else set()
    results = [row for row in results if row['image_id'] not in gone]
    rng.shuffle(results)
    categories = [{'id': i, 'name': name} for i, name in enumerate(('ignore', 'person', 'rider'))]
    return {'images': images, 'categories': categories, 'annotations': annotations}, [] if seed % 13 == 12 else results


def _instance(rng, number, image_id):
    height = float(rng.choice([20, 30, 45, 50, 55, 75, 80, 115, rng.integers(15, 150)]))
    width = round(float(rng.choice([0.41 * height, rng.integers(8, 50)])), 2)
    x, y = float(rng.integers(5, 500)), float(rng.integers(5, 320))
    if rng.random() < 0.3:  # at the border or one pixel beyond
        x = float(rng.choice([4, 5, 635 - width, 636 - width]))
        y = float(rng.choice([4, 5, 475 - height, 507 - height, 508 - height]))
    return {
        'id': number,
        'image_id': image_id,
        'category_id': int(rng.choice([1, 1, 1, 1, 2])),
        'bbox': [x, y, width, height],
        'height': height,
        'vis_ratio': float(rng.choice([0, 0.2, 0.65, 0.9, 1, round(rng.random(), 2)])),
        'occlusion': int(rng.integers(0, 3)),
        'ignore': int(rng.random() < 0.15),
    }


def _found(rng, a):
    box = np.array(a['bbox']) + rng.normal(0, float(rng.choice([0, 1.5, 4])), 4)
    box[2:] = np.maximum(box[2:], 2)
    if rng.random() < 0.15:
        box[3] = rng.choice([16, 24, 40, 37.5, 93.75, 100])  # at the margins
    elif rng.random() < 0.1:
        box = np.array(a['bbox']) * [1, 1, 1, 0.5]  # IoU of exactly one half
    score = round(float(rng.random()), int(rng.choice([1, 3])))
    category = a['category_id'] if rng.random() < 0.9 else 2
    return {'image_id': a['image_id'], 'category_id': category, 'bbox': box.tolist(), 'score': score}


def _elsewhere(rng, image_id, ndigits=1):
    height = float(rng.choice([16, 39.9, 40, 60, 93.75, 100, rng.integers(10, 140)]))
    box = [float(rng.integers(0, 600)), float(rng.integers(0, 400)), 0.4 * height, height]
    score = round(float(rng.random()), ndigits)
    return {'image_id': image_id, 'category_id': int(rng.choice([1, 1, 2])), 'bbox': box, 'score': score}
