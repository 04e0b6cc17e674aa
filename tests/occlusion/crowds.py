"""Crowds in CrowdHuman's layouts, and MMDetection's metric on them."""

import json

import numpy as np
import pytest

SHARES = (1.0, 0.95, 0.9, 0.8, 0.65, 0.5, 0.1)


def crowd(seed, num_images=12, ties=True, fewest=1):
    """Lines of ``.odgt`` and records of results: crowds beyond the border, regions, and images with nothing found.

    MMDetection fails on an image without annotations, which ``fewest`` = 0 makes.
    """
    rng, hidden = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    lines, records = [], []
    for number in range(num_images):
        width, height = rng.integers(90, 140, 2).tolist()
        persons, found = [], []
        for _ in range(int(rng.integers(fewest, 9)) if number % 4 else fewest):
            near = persons[-1]['fbox'] if persons and rng.random() < 0.6 else [*rng.integers(-20, 120, 2), 30, 60]
            box = np.add(near, [*rng.integers(-9, 10, 2), *rng.integers(-6, 7, 2)]).tolist()
            box = persons[-1]['fbox'] if persons and rng.random() < 0.1 else box
            extra = {'extra': {'ignore': int(rng.random() < 0.5)}} if rng.random() < 0.4 else {}
            persons.append(
                person(box, hidden.choice(SHARES)) | extra | ({'tag': 'mask'} if rng.random() < 0.15 else {})
            )
            for _ in range(int(rng.integers(0, 4))):
                found.append(box + rng.normal(0, 5, 4))
        for _ in range(int(rng.integers(0, 5)) if number % 3 else 0):
            found.append(np.append(rng.uniform(-30, 130, 2), rng.uniform(10, 70, 2)))
        scores = rng.choice(21, len(found)) / 20 if ties else rng.permutation(100)[: len(found)] / 100
        boxes = [
            {'box': box.tolist(), 'score': score, 'tag': 1} for box, score in zip(found, scores.tolist(), strict=True)
        ]
        rng.shuffle(boxes)
        lines.append({'ID': f'{number},a', 'gtboxes': persons})
        records.append({'ID': f'{number},a', 'width': width, 'height': height, 'dtboxes': boxes})
    return lines, records


def person(box, share=1.0):
    x, y, width, height = box
    return {'tag': 'person', 'fbox': box, 'hbox': box, 'vbox': [x, y, width, round(height * float(share))]}


class Reference:
    """MMDetection's metric on the same files, its functions called below the rounding and in this process."""

    def __init__(self, lines, records, folder):
        module = pytest.importorskip('mmdet.evaluation.metrics.crowdhuman_metric')
        path, results = folder / 'reference.odgt', folder / 'reference.json'
        path.write_text('\n'.join(map(json.dumps, lines)))
        results.write_text(json.dumps(records))
        self.metric = module.CrowdHumanMetric(str(path))
        self.samples = self.metric.load_eval_samples(str(results))

    def labels(self):
        return [(image, float(row[-1]), label) for row, label, image in self.metric.compare(self.samples)]

    def put_nowait(self, result):
        self.results.append(result)

    def jaccard(self, score_thr):
        self.results = []
        self.metric.compute_ji_with_ignore(self, self.samples, score_thr)
        return self.results

    def measured(self):
        found = self.metric.compare(self.samples)
        total = sum(each.gt_num - each.ign_num for each in self.samples.values())
        each = (
            self.metric.eval_ap(found, total, len(self.samples)),
            self.metric.eval_mr(found, total, len(self.samples)),
        )
        return [*each, max(self.metric.gather(self.jaccard(1e-1 * i))[1] for i in range(10))]
