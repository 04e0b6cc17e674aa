"""CrowdHuman's AP and JI written out, box by box in Python's float64."""


def _corners(box, width, height):
    x1, y1, x2, y2 = box[0], box[1], box[0] + box[2], box[1] + box[3]
    return min(max(x1, 0), width - 1), min(max(y1, 0), height - 1), max(min(x2, width), 0), max(min(y2, height), 0)


def _overlap(a, b, over_union=True):
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b)]
    inside = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    whole = area[0] + area[1] - inside if over_union else area[0]
    return inside / whole if whole else 0


def _grows(i, edges, partners, seen):
    """Whether one more detection finds a partner (an augmenting path)."""
    for j in edges[i]:
        if j not in seen:
            seen.add(j)
            if j not in partners or _grows(partners[j], edges, partners, seen):
                partners[j] = i
                return True
    return False


def by_loops(lines, records):
    """AP and JI of lines of ``.odgt`` and records of results; JI only where there is no region."""
    curve, total, each_image = [], 0, []
    for line, record in zip(lines, records, strict=True):
        size = record['width'], record['height']
        flags = [row['tag'] == 'person' and not row.get('extra', {}).get('ignore') for row in line['gtboxes']]
        boxes = [_corners(row['fbox'], *size) for row in line['gtboxes']]
        persons = [box for box, counts in zip(boxes, flags, strict=True) if counts]
        regions = [box for box, counts in zip(boxes, flags, strict=True) if not counts]
        found = [(row['score'], _corners(row['box'], *size)) for row in record['dtboxes']]
        total, free = total + len(persons), list(persons)
        for score, box in sorted(found, key=lambda each: -each[0]):
            best = max(free, key=lambda person: _overlap(box, person), default=None)
            if best and _overlap(box, best) > 0.5:
                free.remove(best)
                curve.append((score, True))
            elif not any(_overlap(box, region, over_union=False) > 0.5 for region in regions):
                curve.append((score, False))
        each_image.append((persons, found))
    area = true = 0
    before = None
    for count, (_, right) in enumerate(sorted(curve, key=lambda each: -each[0]), 1):
        true += right
        area += 0 if before is None else right / total * (before + true / count) / 2
        before = true / count
    means = []
    for i in range(10):
        ratios = []
        for persons, found in each_image:
            kept = [box for score, box in found if score > 0.1 * i]
            edges = [[j for j, person in enumerate(persons) if _overlap(box, person) >= 0.5] for box in kept]
            partners = {}
            k = sum(_grows(i, edges, partners, set()) for i in range(len(kept)))
            if persons or kept:
                ratios.append(k / (len(persons) + len(kept) - k + 1e-6))
        means.append(sum(ratios) / len(ratios))
    return area, max(means)
