"""What MMDetection 2, Detectron2 and others pickle, and what PyTorch saves."""

import io
import pickle
import re
import zipfile

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import CATEGORIES, SIZE, dataset
from .test_mmdet_pickle import encoded, written
from .test_unpickling import malicious

GT, DT = dataset(5, num_images=6, masks=True, many=False)
GT['categories'] = [{'id': i, 'name': str(i)} for i in (20, 3, 21, 7)]  # not in the order of their ids
CHECKED = load_ground_truth(GT, ('segm',))
ORDER = [20, 3, 21, 7]
BOTH = ('bbox', 'segm')


def mmdet2(seed=0):
    """Boxes and masks of each image and class, and the COCO results that MMDetection 2 makes of them."""
    rng = np.random.default_rng(seed)
    boxes, masks, rows = [], [], []
    for image_id in CHECKED.image_ids.tolist():
        boxes.append([])
        masks.append([])
        for category in ORDER:
            count = int(rng.integers(0, 4))
            corners = np.sort(rng.uniform(0, SIZE, (count, 2, 2)), axis=1).reshape(count, 4)
            found = np.hstack([corners, rng.random((count, 1))]).astype(np.float32)
            rles = [{'size': [SIZE, SIZE], 'counts': encoded(each)} for each in corners]
            boxes[-1].append(found)
            masks[-1].append(rles)
            for (x1, y1, x2, y2, score), rle in zip(found.tolist(), rles, strict=True):
                row = {'image_id': image_id, 'category_id': category, 'bbox': [x1, y1, x2 - x1, y2 - y1]}
                rows.append(row | {'score': score, 'segmentation': rle})
    return boxes, masks, rows


@pytest.mark.parametrize('protocol', range(2, 6))
def test_mmdetection_2(tmp_path, protocol):
    boxes, masks, rows = mmdet2()
    expected = load_detections(rows, CHECKED, BOTH)
    found = load_detections(written(tmp_path, boxes, protocol), CHECKED)
    assert found.to_coco('bbox') == expected.to_coco('bbox')
    assert re.search('their order was taken to be that of ground truth', found.notes[0])
    found = load_detections(written(tmp_path, list(zip(boxes, masks, strict=True)), protocol), CHECKED, BOTH)
    assert found.to_coco('bbox') == expected.to_coco('bbox')
    assert found.to_coco('segm') == expected.to_coco('segm')


def test_mask_scoring_of_mmdetection_2(tmp_path):
    boxes, masks, rows = mmdet2()
    scores = [[[0.5 + 0.01 * i for i in range(len(each))] for each in image] for image in boxes]
    for kind in (list, np.array):
        mask_scores = [[kind(each) for each in image] for image in scores]
        content = [(b, (m, s)) for b, m, s in zip(boxes, masks, mask_scores, strict=True)]
        found = load_detections(written(tmp_path, content), CHECKED, ('segm',))
        assert found.scores.tolist() == [score for image in scores for each in image for score in each]
        assert len(found) == len(rows)


def broken(change):
    content = mmdet2()[0]
    change(content)
    return content


CASES = {
    'fewer images': (broken(lambda c: c.pop()), 'holds predictions of 5 images without ids, .* ground truth has 6'),
    'fewer classes': (broken(lambda c: c[2].pop()), r'results\[2\]: .* is not one array of .* for each of the 4 cat'),
    'no scores': (broken(lambda c: c[1].__setitem__(0, np.zeros((2, 4)))), r'results\[1\]: .* is not one array of x1'),
    'a dictionary': (broken(lambda c: c.__setitem__(3, {})), r'results\[3\]: \{\} is not one array'),
    'nan': (broken(lambda c: c[1].__setitem__(0, np.full((1, 5), np.nan))), "'scores' is .*, not finite numbers"),
    'turned': (broken(lambda c: c[1].__setitem__(0, np.array([[5, 5, 1, 9, 0.5]]))), 'negative width or height'),
    'masks of another number': ([(each, [[{}] * 9] * 4) for each in mmdet2()[0]], 'has not one entry of masks a box'),
}


@pytest.mark.parametrize('content, sentence', CASES.values(), ids=CASES)
def test_mistakes_in_mmdetection_2(tmp_path, content, sentence):
    with pytest.raises(InputError, match=sentence):
        load_detections(written(tmp_path, content), CHECKED, BOTH if 'entry' in sentence else ('bbox',))


@pytest.mark.parametrize('kind', [list, np.array])
def test_a_pickled_list_of_results(tmp_path, kind):
    rows = [{**row, 'bbox': kind(row['bbox']), 'score': np.float32(row['score'])} for row in DT]
    found = load_detections(written(tmp_path, rows), CHECKED, BOTH)
    plain = load_detections(DT, CHECKED, BOTH)
    assert found.to_coco('segm')[0]['segmentation'] == plain.to_coco('segm')[0]['segmentation']
    assert np.array_equal(found.boxes, plain.boxes) and np.allclose(found.scores, plain.scores)
    assert len(load_detections(written(tmp_path, []), CHECKED)) == 0


def saved(tmp_path, content, name='instances_predictions.pth', **kwargs):
    torch = pytest.importorskip('torch')
    torch.save(content, tmp_path / name, **kwargs)
    return tmp_path / name


def detectron2():
    """Categories are indices in the order of the ids; the evaluator maps them back only for its JSON."""
    index = {category: position for position, category in enumerate(sorted(CATEGORIES))}
    return [
        {
            'image_id': image_id,
            'instances': [
                row | {'category_id': index[row['category_id']]} for row in DT if row['image_id'] == image_id
            ],
        }
        for image_id in CHECKED.image_ids.tolist()
    ]


def test_detectron2(tmp_path):
    order = CHECKED.image_ids.tolist()
    expected = load_detections(sorted(DT, key=lambda row: order.index(row['image_id'])), CHECKED, BOTH)
    for name in ('instances_predictions.pth', 'predictions.bin'):
        found = load_detections(saved(tmp_path, detectron2(), name), CHECKED, BOTH)
        assert found.to_coco('bbox') == expected.to_coco('bbox')
        assert found.to_coco('segm') == expected.to_coco('segm')
        assert any('categories were taken as indices in the order of the ids' in note for note in found.notes)
    content = detectron2()
    next(each for each in content if each['instances'])['instances'][0]['category_id'] = 4
    with pytest.raises(InputError, match=r'detections\[0\]: the class 4 is none of the 4 categories'):
        load_detections(saved(tmp_path, content), CHECKED)


def test_saved_tensors(tmp_path):
    torch = pytest.importorskip('torch')
    rows = []
    for image_id in CHECKED.image_ids.tolist():
        mine = [row for row in DT if row['image_id'] == image_id]
        whole = torch.tensor([[*row['bbox'], row['score']] for row in mine], dtype=torch.float64).reshape(-1, 5)
        labels = torch.tensor([row['category_id'] for row in mine], dtype=torch.int64)
        rows.append({'image_id': image_id, 'boxes_xywh': whole[:, :4], 'labels': labels, 'scores': whole[:, 4]})
    order = CHECKED.image_ids.tolist()
    expected = load_detections(sorted(DT, key=lambda row: order.index(row['image_id'])), CHECKED)
    for path in (saved(tmp_path, rows), written(tmp_path, rows)):
        assert load_detections(path, CHECKED).to_coco('bbox') == expected.to_coco('bbox')


def test_a_file_of_old_pytorch_is_named(tmp_path):
    path = saved(tmp_path, detectron2(), _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r'the format of PyTorch before 1\.6; load it and save it by a newer'):
        load_detections(path, CHECKED)


def archive(*members, kind=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', kind) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file.getvalue()


def test_nothing_in_a_saved_file_is_run(tmp_path):
    torch = pytest.importorskip('torch')
    marker, path = tmp_path / 'marker', tmp_path / 'x.pth'
    for _, harmful in malicious(marker):
        for content in (harmful, [{'image_id': 1, 'instances': harmful}]):
            try:
                raw = pickle.dumps(content, protocol=2)
            except (TypeError, pickle.PicklingError):
                continue
            path.write_bytes(archive(('x/data.pkl', raw), ('x/version', '3')))
            with pytest.raises(InputError, match=r"it names '.*, which predictions do not need"):
                load_detections(path, CHECKED)
            assert not marker.exists()
    torch.save(torch.nn.Linear(1, 1), path)
    with pytest.raises(InputError, match=r"names 'torch\.nn\.modules\.linear\.Linear', which"):
        load_detections(path, CHECKED)


@pytest.mark.filterwarnings('ignore:TypedStorage')
def test_broken_saved_files(tmp_path):
    torch = pytest.importorskip('torch')
    row = {'image_id': int(CHECKED.image_ids[0]), 'boxes_xywh': torch.ones(9, 4), 'labels': torch.full((9,), 3)}
    path = saved(tmp_path, [row | {'scores': torch.rand(9)}])
    assert len(load_detections(path, CHECKED)) == 9
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    storages = [name for name in members if '/data/' in name]
    folder = storages[0].partition('/')[0]
    changes = {
        'a storage is cut': {name: members[name][:8] for name in storages},
        'a storage is gone': dict.fromkeys(storages),
        'two pickles': {'other/data.pkl': b''},
        'of a big-endian machine': {f'{folder}/byteorder': b'big'},
        'no pickle': {f'{folder}/data.pkl': b'x'},
    }
    for change in changes.values():
        kept = {name: content for name, content in (members | change).items() if content is not None}
        path.write_bytes(archive(*kept.items()))
        with pytest.raises(InputError, match='cannot be read as a pickle'):
            load_detections(path, CHECKED)
    path.write_bytes(archive(*members.items(), kind=zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match='is compressed'):
        load_detections(path, CHECKED)
