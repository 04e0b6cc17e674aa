"""MMDetection's pickled predictions give what its own JSON gives."""

import json
import pickle
import re

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import CATEGORIES, SIZE, dataset

GT, _ = dataset(0, num_images=6, masks=True, many=False)
CHECKED = load_ground_truth(GT, ('segm',))


def prediction(image_id, count=3, seed=0, **changes):
    """One image's, with NumPy arrays in place of tensors."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, SIZE, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32)
    instances = {
        'bboxes': corners,
        'scores': rng.random(count).astype(np.float32),
        'labels': rng.integers(0, len(CATEGORIES), count),
        'masks': [{'size': [SIZE, SIZE], 'counts': encoded(box)} for box in corners],
    }
    return {'img_id': image_id, 'ori_shape': (SIZE, SIZE), 'pred_instances': instances | changes}


def encoded(corners):
    from pycocotools import mask

    x1, y1, x2, y2 = np.round(corners).astype(int)
    pixels = np.zeros((SIZE, SIZE), dtype=np.uint8, order='F')
    pixels[y1:y2, x1:x2] = 1
    return mask.encode(pixels)['counts']


def written(tmp_path, content, protocol=2):
    path = tmp_path / 'predictions.pkl'
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize('protocol', range(2, 6))
def test_columns(tmp_path, protocol):
    ids = CHECKED.image_ids[[3, 0, 5]].tolist()
    content = [
        prediction(image_id, count, seed) for seed, (image_id, count) in enumerate(zip(ids, (4, 0, 2), strict=True))
    ]
    dt = load_detections(written(tmp_path, content, protocol), CHECKED, ('bbox', 'segm'))
    assert dt.image_ids.tolist() == [ids[0]] * 4 + [ids[2]] * 2
    labels = np.concatenate([each['pred_instances']['labels'] for each in content])
    assert dt.category_ids.tolist() == [CATEGORIES[label] for label in labels]
    corners = np.concatenate([each['pred_instances']['bboxes'] for each in content]).astype(float)
    assert np.array_equal(dt.boxes, np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]))
    assert dt.scores.tolist() == np.concatenate([each['pred_instances']['scores'] for each in content]).tolist()
    assert dt.masks.take() == [rle for each in content for rle in each['pred_instances']['masks']]


def test_as_mmdetection_evaluates_them(tmp_path):
    """The dump and the JSON of MMDetection's own classes, from the same predictions."""
    torch = pytest.importorskip('torch')
    pytest.importorskip('mmdet')
    from mmdet.evaluation import CocoMetric, DumpDetResults

    (tmp_path / 'gt.json').write_text(json.dumps(GT))
    rng = torch.Generator().manual_seed(0)

    def samples():
        rng.manual_seed(0)
        for image_id, count in zip(CHECKED.image_ids.tolist(), (5, 0, 1, 30, 2, 9), strict=True):
            corners = (torch.rand(2 * count, 2, 2, generator=rng) * SIZE).sort(dim=1).values.reshape(-1, 4)
            yield {
                'img_id': image_id,
                'img_path': 'x.jpg',
                'ori_shape': (SIZE, SIZE),
                'scale_factor': np.array([1.5, 1.5], dtype=np.float32),
                'gt_instances': {'bboxes': torch.rand(2, 4)},
                'pred_instances': {
                    'bboxes': corners[:count],  # a view, of which the whole storage is pickled
                    'scores': torch.rand(count, 2, generator=rng)[:, 1],  # with a stride
                    'labels': torch.randint(0, len(CATEGORIES), (count,), generator=rng),
                    'masks': torch.rand(count, SIZE, SIZE, generator=rng) < 0.3,
                },
            }

    dump = DumpDetResults(out_file_path=str(tmp_path / 'dump.pkl'))
    dump.process({}, list(samples()))
    dump.compute_metrics(dump.results)
    classes = tuple(category['name'] for category in GT['categories'])
    metric = CocoMetric(
        ann_file=str(tmp_path / 'gt.json'),
        metric=['bbox', 'segm'],
        format_only=True,
        outfile_prefix=str(tmp_path / 'results'),
    )
    metric.dataset_meta = {'classes': classes}
    metric.process({}, list(samples()))
    metric.compute_metrics(metric.results)

    found = load_detections(tmp_path / 'dump.pkl', CHECKED, ('bbox', 'segm'))
    assert len(found) == 47
    boxes = load_detections(tmp_path / 'results.bbox.json', CHECKED)
    masks = load_detections(tmp_path / 'results.segm.json', CHECKED, ('segm',))
    assert found.to_coco('bbox') == boxes.to_coco('bbox')
    assert found.to_coco('segm') == masks.to_coco('segm')


def test_every_type_of_tensor(tmp_path):
    torch = pytest.importorskip('torch')
    image_id = int(CHECKED.image_ids[0])
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.float32):
        scores = torch.tensor([0.5, 0.1, 0.75], dtype=dtype)
        for labels in (
            torch.tensor([0, 2, 1], dtype=kind) for kind in (torch.int32, torch.uint8, torch.int16, torch.int8)
        ):
            content = [prediction(image_id, scores=scores, labels=labels)]
            dt = load_detections(written(tmp_path, content), CHECKED)
            assert dt.scores.tolist() == scores.double().tolist()
            assert dt.category_ids.tolist() == [CATEGORIES[0], CATEGORIES[2], CATEGORIES[1]]


def test_masks_with_scores_of_their_own(tmp_path):
    scores = np.array([0.25, 0.5, 0.125], dtype=np.float32)
    path = written(tmp_path, [prediction(int(CHECKED.image_ids[0]), mask_scores=scores)])
    assert load_detections(path, CHECKED, ('segm',)).scores.tolist() == scores.tolist()
    assert load_detections(path, CHECKED).scores.tolist() != scores.tolist()
    with pytest.raises(InputError, match='evaluate bbox and segm one at a time'):
        load_detections(path, CHECKED, ('bbox', 'segm'))


ID = int(CHECKED.image_ids[0])
CASES = {
    'no list': ({'a': 1}, 'must be a JSON list of detections, found an object'),
    'no dictionary': ([prediction(ID), 3], r'results\[1\]: 3 is not an object'),
    'no image': ([prediction(-4)], r"3 records, the first is detections\[0\]: field 'image_id' is -4, which is no"),
    'no id': ([{'pred_instances': prediction(ID)['pred_instances']}], "field 'image_id' is None, which is no image"),
    'no instances': ([{'img_id': ID}], r'results\[0\]: it has no list of scores'),
    'no scores': ([prediction(ID, scores=None)], r'results\[0\]: it has no list of scores'),
    'two scores': ([prediction(ID, scores=np.ones(2))], "'labels' is .*, not a list of 2, as many as there are scores"),
    'score of text': ([prediction(ID, scores=['x'])], r"'scores' is \['x'\], not finite numbers"),
    'nan score': ([prediction(ID, scores=np.array([0.5, np.nan, 1]))], "'scores' is .*nan.*, not finite numbers"),
    'label outside': (
        [prediction(ID, labels=np.array([0, 4, 1]))],
        r'detections\[1\]: the class 4 is none of the 4 categories, counted from 0',
    ),
    'label below': ([prediction(ID, labels=np.array([0, -1, 1]))], 'the class -1 is none'),
    'broken label': ([prediction(ID, labels=np.full(3, 0.5))], "'labels' is .*, not whole numbers"),
    'three boxes': ([prediction(ID, bboxes=np.zeros((3, 5)))], "'boxes_xyxy' is .*, not rows of 4 finite numbers"),
    'infinite box': ([prediction(ID, bboxes=np.full((3, 4), np.inf))], 'not rows of 4 finite numbers'),
    'turned box': (
        [prediction(ID, bboxes=np.array([[0, 0, 5, 5], [5, 5, 0, 9], [0, 0, 1, 1.0]]))],
        'negative width .*; give pred.* --out',
    ),
    'far box': ([prediction(ID, bboxes=np.full((3, 4), 1e10))], 'beyond 1e9'),
    'no masks': ([prediction(ID, masks=None)], "'masks' is None, not a list of 3, as many"),
    'broken mask': (
        [prediction(ID, masks=[{'size': [SIZE, SIZE], 'counts': b'oo'}] * 3)],
        r'3 records, the first is detections\[0\]: .* counts that do not fill',
    ),
}


@pytest.mark.parametrize('content, sentence', CASES.values(), ids=CASES)
def test_one_sentence_for_each_mistake(tmp_path, content, sentence):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=sentence) as caught:
        load_detections(path, CHECKED, ('bbox', 'segm'))
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'raw, sentence',
    [
        (None, 'no such file'),
        (b'', r'not valid JSON \(it is empty\)'),
        (b'\x80\x02]q', 'cannot be read as a pickle'),
        # Numbers an object so high that Python's table of them would fill the memory.
        (b'\x80\x02]r\xff\xff\xff\x7f.', r'as a pickle \(UnpicklingError: object 2147483647 after 3 bytes\)'),
        (b'\x80\x02]p2147483647\n.', 'object 2147483647 after 3 bytes'),
    ],
)
def test_unreadable_files(tmp_path, raw, sentence):
    path = tmp_path / 'predictions.pkl'
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(InputError, match=re.escape(str(path)) + '.*' + sentence):
        load_detections(path, CHECKED)


def test_an_image_that_is_twice_there(tmp_path):
    found = load_detections(written(tmp_path, [prediction(ID), prediction(ID, seed=1)]), CHECKED)
    assert len(found) == 6
    assert any('1 record is of an image that another is of too, and all count' in note for note in found.notes)


def test_tensors_shared_among_images_fill_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr('mmhybrid.occlusion.read.mmdet_pickle.FREE', 10)
    gt = load_ground_truth(dataset(0)[0])
    half = np.float16
    shared = prediction(
        0, bboxes=np.zeros((9000, 4), half), scores=np.zeros(9000, half), labels=np.zeros(9000, np.int8)
    )
    path = written(tmp_path, [{**shared, 'img_id': image_id} for image_id in gt.image_ids.tolist()])
    assert path.stat().st_size < 9000 * len(gt.images)
    with pytest.raises(InputError, match='holds more detections than bytes'):
        load_detections(path, gt)
