"""A small good data set, what plain pycocotools makes of it, and the commands run on changed copies of it.

Every test changes copies of one set in one way. Its numbers are exact in every form that files have: boxes of instances
are whole numbers, those of detections multiples of 1/4, scores of 1/1024, so that nothing is lost as float32, as
corners or as masks, and rectangles have the same area as boxes and as masks.
"""

import contextlib
import copy
import functools
import io
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmhybrid.occlusion.cli import main

WIDTH, HEIGHT = 200, 160
CATEGORIES = ('car', 'person', 'dog')
METRICS = ('ap', 'ap50', 'ap75', 'aps', 'apm', 'apl', 'ar')


@functools.cache
def _data():
    rng = np.random.default_rng(13)
    images = [{'id': i, 'file_name': f'street_{i:03}.jpg', 'width': WIDTH, 'height': HEIGHT} for i in range(1, 13)]
    annotations, detections = [], []
    scores = rng.permutation(np.arange(60, 1000))
    for image in images:
        for position in range(int(rng.integers(3, 6))):
            size = 2 * rng.integers([6, 5], [36, 35]) if rng.random() < 0.9 else np.array([120, 100])
            x, y = (int(value) for value in rng.integers(2, np.array([WIDTH, HEIGHT]) - size - 1))
            w, h = (int(value) for value in size)
            shape = [corners([x, y, w, h])]
            category, crowd = int(rng.integers(1, 4)), int(image['id'] % 4 == 2 and position == 2)
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image['id'],
                    'category_id': category,
                    'bbox': [x, y, w, h],
                    'area': w * h,
                    'iscrowd': crowd,
                    'segmentation': uncompressed(encoded(shape)) if crowd else shape,
                }
            )
            for _ in range(int(rng.choice([0, 1, 1, 2])) or position == 0):
                moved = np.add([x, y, w, h], rng.integers(-14, 15, 4) / 4)
                # A confusion is never with the next category: of ids that are lower by one, all are wrong.
                confused = category - 1 or 3
                chosen = category if rng.random() < 0.9 else confused
                detections.append(_detection(image['id'], chosen, moved, scores[len(detections)]))
        box = [*rng.integers(2, 90, 2), *rng.integers(9, 40, 2)]
        detections.append(_detection(image['id'], int(rng.integers(1, 4)), box, scores[len(detections)] // 3))
    categories = [{'id': i, 'name': name} for i, name in enumerate(CATEGORIES, start=1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}, detections


def _detection(image_id, category_id, box, score):
    x, y, w, h = (float(value) for value in box)
    x, y = max(x, 0.0), max(y, 0.0)
    w, h = max(min(w, WIDTH - x), 2.0), max(min(h, HEIGHT - y), 2.0)
    shape = [x, y, x + w, y, x + w, y + h, x + w / 4, y + h, x, y + h / 2]  # a corner is cut off
    record = {'image_id': image_id, 'category_id': category_id, 'bbox': [x, y, w, h], 'score': float(score) / 1024}
    return record | {'segmentation': encoded([shape])}


def data():
    """``(gt, dt)``: fresh copies of 12 images, some 50 instances with three crowd regions, and some 60 detections."""
    return copy.deepcopy(_data())


def corners(box):
    """A box as a polygon."""
    x, y, w, h = (float(value) for value in box)
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def encoded(segmentation, size=(HEIGHT, WIDTH)):
    """Polygons or uncompressed run lengths as compressed ones, as COCO's results have them."""
    if isinstance(segmentation, list):
        rle = mask.merge(mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation['counts'], list):
        rle = mask.frPyObjects(segmentation, *size)
    else:
        return segmentation
    return {'size': list(rle['size']), 'counts': rle['counts'].decode()}


def uncompressed(rle):
    """Compressed run lengths as COCO's crowd regions have them."""
    pixels = mask.decode({'size': rle['size'], 'counts': rle['counts'].encode()}).ravel(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels])))
    counts = np.diff(np.concatenate([[0], edges, [len(pixels)]]))
    return {'size': rle['size'], 'counts': counts.tolist()}


def plain(gt, dt, iou_type='bbox', max_dets=100, **parameters):
    """``METRICS`` of a fresh pycocotools run; ``parameters`` are those of ``COCOeval.params``."""
    gt, dt = copy.deepcopy(gt), copy.deepcopy(dt)
    if iou_type == 'segm':  # pycocotools would take the area of a detection from its box
        for record in dt:
            record.pop('bbox', None)
            record['segmentation'] = encoded(record['segmentation'])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = gt
        truth.createIndex()
        if dt:
            found = truth.loadRes(dt)
        else:  # loadRes fails on an empty list
            found = COCO()
            found.dataset = gt | {'annotations': []}
            found.createIndex()
        evaluator = COCOeval(truth, found, iou_type)
        evaluator.params.maxDets = [max_dets]
        for name, value in parameters.items():
            setattr(evaluator.params, name, value)
        evaluator.evaluate()
        evaluator.accumulate()
    precision, recall = evaluator.eval['precision'], evaluator.eval['recall']
    thresholds = np.round(evaluator.params.iouThrs, 2).tolist()
    values = [precision[:, :, :, 0, -1]]
    values += [precision[thresholds.index(t)][:, :, 0, -1] if t in thresholds else precision[:0] for t in (0.5, 0.75)]
    values += [precision[:, :, :, area, -1] for area in (1, 2, 3)] + [recall[:, :, 0, -1]]
    means = [float(np.mean(each[each > -1])) if (each > -1).any() else None for each in values]
    return dict(zip(METRICS, means, strict=True))


@dataclass
class Outcome:
    """What a command did: its exit code, what it said, and the JSON it wrote."""

    code: int
    out: str
    err: str
    document: dict | None = None
    folder: str = ''

    @property
    def results(self):
        assert self.code == 0 and self.document is not None, self.err
        return self.document['results']

    @property
    def notes(self):
        """Notes of the JSON, which are also those of stderr: one line each, said once."""
        notes = dict.fromkeys(self.document.get('notes', ()))
        for result in self.results:
            notes |= dict.fromkeys(result['notes'])
        lines = [line for line in self.err.splitlines() if line.startswith('note: ')]
        assert len(set(lines)) == len(lines), f'said twice: {lines}'
        # Of several models, a note on stderr may begin with the model's name.
        names = '|'.join(re.escape(result['name']) for result in self.results) if len(self.results) > 1 else 'x^'
        said = {re.sub(f'^({names}): ', '', note) for note in self.said}
        kept, told = ({self._plain(self._without_paths(note)) for note in each} for each in (notes, said))
        assert kept == told
        for note in notes:
            assert '\n' not in note and not note.startswith('note') and not note.endswith('.') and len(note) < 500, note
        return [self._without_paths(note) for note in notes]

    @property
    def said(self):
        """Notes on stderr."""
        lines = [line[len('note: ') :].removesuffix('.') for line in self.err.splitlines() if line.startswith('note: ')]
        return [self._without_paths(line) for line in lines]

    @property
    def error(self):
        """The one sentence of a refusal."""
        assert self.code == 2, f'not refused: exit {self.code}, {self.said}'
        lines = [line for line in self.err.splitlines() if line]
        errors = [line for line in lines if re.search('error', line, re.IGNORECASE)]
        assert 'Traceback' not in self.err and lines[-1].startswith('error: '), self.err
        assert errors == lines[-1:] and lines[-1].endswith('.') and len(lines[-1]) < 600, self.err
        return self._without_paths(lines[-1])

    def _without_paths(self, text):
        # A file's name says much of what a sentence is to say by itself.
        return re.sub(re.escape(self.folder) + r"[^\s:;,()']*", 'FILE', text) if self.folder else text

    @staticmethod
    def _plain(text):
        return re.sub(r'[^ -~]|\\.{1,5}', '?', text)  # a terminal may not be able to show a name


@dataclass
class Files:
    """A folder with a ground truth and results to be changed, and the commands on them."""

    folder: Path
    gt: dict = field(default_factory=lambda: copy.deepcopy(_data()[0]))
    dt: list = field(default_factory=lambda: copy.deepcopy(_data()[1]))
    ann: str = 'gt.json'
    results: tuple = ('dt.json',)

    def write(self, name, content):
        """A file of this name: bytes, text, or what JSON can hold."""
        content = content if isinstance(content, str | bytes) else json.dumps(content)
        path = Path(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def _prepare(self):
        for name, content in (('gt.json', self.gt), ('dt.json', self.dt)):
            if not Path(self.folder, name).exists():
                self.write(name, content)

    def run(self, command, *options):
        """``eval``, ``compare`` or ``report`` on these files."""
        self._prepare()
        results = [each if '=' in each else str(Path(self.folder, each)) for each in self.results]
        if '--format' not in options:
            options = ('--format', 'json', *options)
        target = Path(self.folder, 'out')
        arguments = ['--ann', str(Path(self.folder, self.ann)), '--results', *results, '--out-dir', str(target)]
        # A test may run several commands, each in the place of the one before.
        outcome = self._call([command, *arguments, '--force', *options])
        if outcome.code == 0:
            outcome.document = json.loads(Path(target, 'occlusion.json').read_text())
        return outcome

    def ratio(self, *options):
        """``ratio`` on the ground truth, with the values of the images written to ``r.csv``."""
        self._prepare()
        table = Path(self.folder, 'r.csv')
        return self._call(['ratio', '--ann', str(Path(self.folder, self.ann)), '--out', str(table), *options])

    def _call(self, arguments):
        outcome = call(arguments)
        outcome.folder = str(self.folder)
        return outcome


def call(arguments):
    """Run a command in this process, with streams that take what UTF-8 can hold alone, as those of a terminal."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding='utf-8') for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as stop:
            code = stop.code
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode())
    return Outcome(code, *said)


@functools.cache
def unchanged(*options):
    """The results that ``eval`` with these options writes for the set as it is."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = Files(Path(folder)).run('eval', *options)
    assert outcome.notes == []
    return outcome.results


@functools.cache
def unchanged_plain(iou_type='bbox'):
    """What plain pycocotools makes of the set as it is."""
    return plain(*_data(), iou_type)
