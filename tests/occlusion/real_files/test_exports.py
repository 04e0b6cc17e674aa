"""Ground truth and results in the layouts in which other programs export them."""

import copy
import pickle

import numpy as np
import pytest

from . import forms
from .base import HEIGHT, WIDTH, Files, corners, plain, unchanged_plain
from .outcomes import assert_named, assert_noted, assert_plain, assert_same

SEGM = ('--iou-type', 'segm')
BOTH = ('--iou-type', 'bbox', 'segm')


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def shifted(files):
    """Detections with their categories counted from 0 in the order of the ground truth's, as networks have them."""
    return [record | {'category_id': record['category_id'] - 1} for record in files.dt]


def per_image(files, records):
    """As Detectron2 keeps predictions: a list of images, each with its instances."""
    return [
        {'image_id': image['id'], 'instances': [each for each in records if each['image_id'] == image['id']]}
        for image in files.gt['images']
    ]


@pytest.mark.parametrize('options', [(), SEGM], ids=['bbox', 'segm'])
@pytest.mark.parametrize('classes', ['as networks have them', 'as the ground truth has them'])
def test_detectron2_pth(files, classes, options):
    torch = pytest.importorskip('torch')
    records = shifted(files) if classes == 'as networks have them' else files.dt
    path = files.folder / 'instances_predictions.pth'
    torch.save(per_image(files, records), path)
    files.results = (path.name,)
    outcome = files.run('eval', *options)
    if outcome.code == 2:
        assert_named(outcome, r'\.pth|torch|Detectron2|class|categor')
    else:
        assert_same(outcome, *options)


def test_pth_of_something_else(files):
    torch = pytest.importorskip('torch')
    path = files.folder / 'model_final.pth'
    torch.save({'model': {'weight': torch.zeros(2)}, 'iteration': 3}, path)
    files.results = (path.name,)
    assert_named(files.run('eval'), '^error: FILE')


def mmdet2(files, masks):
    """As MMDetection 2 keeps predictions: per image one array of corners and score a category; with masks, a pair."""
    found = []
    for image in files.gt['images']:
        boxes, shapes = [], []
        for category in files.gt['categories']:
            rows = [
                each for each in files.dt if (each['image_id'], each['category_id']) == (image['id'], category['id'])
            ]
            array = [[x, y, x + w, y + h, row['score']] for row in rows for x, y, w, h in [row['bbox']]]
            boxes.append(np.array(array, dtype=np.float32).reshape(-1, 5))
            codes = [each['segmentation'] for each in rows]
            shapes.append([code | {'counts': code['counts'].encode()} for code in codes])
        found.append((boxes, shapes) if masks else boxes)
    return found


@pytest.mark.parametrize('options', [(), SEGM, BOTH], ids=['bbox', 'segm', 'both'])
def test_mmdetection_2(files, options):
    files.write('x.pkl', pickle.dumps(mmdet2(files, bool(options))))
    files.results = ('x.pkl',)
    outcome = files.run('eval', *options)
    if outcome.code == 2:
        assert_named(outcome, 'MMDetection 2|mmdet')
    else:
        assert_same(outcome, *options)


def test_mmdetection_2_of_another_set(files):
    files.write('x.pkl', pickle.dumps(mmdet2(files, False)[:7]))
    files.results = ('x.pkl',)
    assert_named(files.run('eval'), r'\b7\b', r'\b12\b')


@pytest.mark.parametrize('wrapper', ['predictions', 'annotations', 'results', 'detections'])
def test_results_in_an_object(files, wrapper):
    files.dt = {'info': {'date': '2024'}, wrapper: files.dt}
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, wrapper)
    else:
        assert_same(outcome)


def whole_set(files, images):
    """Results as a whole COCO data set with scores, as FiftyOne and CVAT export them."""
    records = [record | {'id': i, 'iscrowd': 0, 'area': 1.0} for i, record in enumerate(files.dt)]
    return {'info': {}, 'licenses': [], 'categories': files.gt['categories'], 'images': images, 'annotations': records}


def test_results_as_a_whole_set(files):
    files.dt = whole_set(files, files.gt['images'])
    assert_same(files.run('eval'))


def test_results_as_a_whole_set_with_its_own_ids_of_images(files):
    """Its ids are another program's: what they stand for is in its own list of images."""
    images = [image | {'id': 13 - image['id']} for image in files.gt['images']]
    for record in files.dt:
        record['image_id'] = 13 - record['image_id']
    files.dt = whole_set(files, images)
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, 'images|file_name')
    elif outcome.results[0]['strata'][0]['ap'] != pytest.approx(unchanged_plain()['ap']):
        assert_noted(outcome.notes, 'images.*file_name|file_name.*images')


def test_results_as_a_whole_set_with_its_own_ids_of_categories(files):
    files.dt = whole_set(files, files.gt['images'])
    files.dt['categories'] = [{'id': 4 - each['id'], 'name': each['name']} for each in files.gt['categories']]
    for record in files.dt['annotations']:
        record['category_id'] = 4 - record['category_id']
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, 'categor')
    elif outcome.results[0]['strata'][0]['ap'] != pytest.approx(unchanged_plain()['ap']):
        assert_noted(outcome.notes, 'categor.*names?|names?.*categor')


def as_corners(box):
    x, y, w, h = box
    return [x, y, x + w, y + h]


def test_dictionary_of_torchvision_references(files):
    """Image id -> boxes as corners, labels and scores."""
    for record in files.dt:
        record['bbox'] = as_corners(record['bbox'])
    right = plain(*copy.deepcopy((files.gt, files.dt)))
    files.dt = {str(each.pop('image_id')): each for each in forms.boxes_labels_scores(files.dt)}
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, 'boxes', 'labels|scores')
    elif any('corner' in note for note in outcome.notes):
        assert_plain(outcome, right)
    else:
        assert_same(outcome)


def test_lists_an_image_that_are_empty(files):
    files.dt = forms.boxes_labels_scores(files.dt)
    files.gt['images'].append(files.gt['images'][0] | {'id': 77, 'file_name': 'empty.jpg'})
    right = plain(files.gt, Files(files.folder).dt)
    files.dt.append({'image_id': 77, 'boxes': [], 'labels': [], 'scores': []})
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, 'boxes', 'labels|scores')
    else:
        assert_plain(outcome, right)


@pytest.mark.parametrize('name', ['boxes', 'labels', 'scores'])
def test_lists_an_image_of_unequal_length(files, name):
    files.dt = forms.boxes_labels_scores(files.dt)
    files.dt[2][name].pop()
    assert_named(files.run('eval'), r'boxes|labels|scores', r'results\[2\]|image 3|3')


def test_inference_of_mmdetection_3(files):
    """One image's predictions, without its id."""
    files.dt = {'labels': [0, 1], 'scores': [0.5, 0.25], 'bboxes': [[1, 2, 3, 4], [5, 6, 7, 8]]}
    assert_named(files.run('eval'), '^error: FILE')


def test_keypoints(files):
    for record in files.dt:
        del record['bbox'], record['segmentation']
        record['keypoints'] = [1.0, 2.0, 1.0] * 17
    assert_named(files.run('eval'), r'\b57 (records|detections)', 'bbox')


def test_panoptic(files):
    files.gt['annotations'] = [
        {'image_id': 1, 'file_name': '1.png', 'segments_info': [{'id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4]}]}
    ]
    assert_named(files.run('eval'), '^error: FILE')


def roboflow(files):
    """Everything from 0, a root category that nothing has, file names with a digest."""
    for group in (forms.IMAGE_IDS, forms.ANNOTATION_IDS):
        group['from 0'](files)
    for category in files.gt['categories']:
        category['supercategory'] = 'traffic'
    files.gt['categories'].insert(0, {'id': 0, 'name': 'traffic', 'supercategory': 'none'})
    for image in files.gt['images']:
        image['file_name'] = image['file_name'].replace('.jpg', '_jpg.rf.9f8e7d6c.jpg')
        image['date_captured'] = '2024-01-02T03:04:05+00:00'
    for annotation in files.gt['annotations']:
        annotation['segmentation'] = []


def cvat(files):
    """Attributes, masks of boxes left empty, license 0."""
    files.gt |= {'licenses': [{'name': '', 'id': 0, 'url': ''}], 'info': {'contributor': ''}}
    for image in files.gt['images']:
        image |= {'license': 0, 'flickr_url': '', 'coco_url': '', 'date_captured': 0}
    for annotation in files.gt['annotations']:
        annotation |= {'segmentation': [], 'area': float(annotation['area']), 'attributes': {'occluded': True}}


def fiftyone(files):
    """Ids from 1, no supercategory, masks absent for boxes."""
    files.gt |= {'info': {'year': '', 'url': 'https://example.org'}, 'licenses': []}
    for category in files.gt['categories']:
        category['supercategory'] = None
    for annotation in files.gt['annotations']:
        del annotation['segmentation']
        annotation['bbox'] = list(map(float, annotation['bbox']))


def objects365(files):
    for image in files.gt['images']:
        image['file_name'] = f'images/v1/patch16/objects365_v1_{image["id"]:08}.jpg'
    forms.IMAGE_IDS['with gaps'](files)
    for annotation in files.gt['annotations']:
        del annotation['segmentation']
        annotation |= {'isfake': 0, 'isreflected': 0}


def open_images(files):
    """Ids are text of hexadecimal digits, some of digits alone."""
    ids = {i: f'{i * 0x1234567:016x}' if i > 2 else f'{i:016}' for i in range(1, 13)}
    for image in files.gt['images']:
        image |= {'id': ids[image['id']], 'file_name': f'{ids[image["id"]]}.jpg'}
    for record in [*files.gt['annotations'], *files.dt]:
        record['image_id'] = ids[record['image_id']]
    for annotation in files.gt['annotations']:
        annotation |= {'isoccluded': 1, 'istruncated': 0, 'isgroupof': annotation['iscrowd']}


EXPORTS = [roboflow, cvat, fiftyone, objects365, open_images]


@pytest.mark.parametrize('export', EXPORTS, ids=lambda export: export.__name__)
def test_exports(files, export):
    export(files)
    outcome = files.run('eval')
    assert_same(outcome)
    assert outcome.notes == []


@pytest.mark.parametrize('key', ['ignore', 'iscrowd'])
def test_crowdhuman_in_the_form_of_coco(files, key):
    """Whole bodies leave the image; what is masked out is `ignore` in some conversions, `iscrowd` in others."""
    for position, annotation in enumerate(files.gt['annotations']):
        x, y, w, h = annotation['bbox']
        if y + h > HEIGHT - 20:
            annotation['bbox'] = [x, y, w, h + 30]
        annotation |= {'iscrowd': 0, 'vis_ratio': 0.5, 'height': h, 'vbox': [x, y, w, h]}
        annotation[key] = int(position % 7 == 3)
    right = copy.deepcopy(files.gt)
    for annotation in right['annotations']:
        annotation['iscrowd'] = annotation[key]
    outcome = files.run('eval')
    assert_plain(outcome, plain(right, files.dt))
    if key == 'ignore':
        assert_noted(outcome.notes, r'\b7\b.*ignore')
    assert_plain(files.run('eval', '--ignore', 'as-instances'), plain(files.gt, files.dt))


def test_lvis_results_with_many_detections(files):
    """LVIS keeps 300 detections an image, of all categories together."""
    for image in files.gt['images']:
        image |= {'neg_category_ids': [], 'not_exhaustive_category_ids': [3]}
    rng = np.random.default_rng(1)
    for at in range(150):
        box = [float(value) for value in (*rng.integers(0, WIDTH // 2, 2), 8, 9)]
        files.dt.append({'image_id': 3, 'category_id': 1 + at % 3, 'bbox': box, 'score': 0.001 + at / 1e6})
    outcome = files.run('eval')
    assert_plain(outcome, plain(files.gt, files.dt))
    assert_noted(outcome.notes, 'federated|neg_category_ids')


def test_polygons_of_detections_as_label_studio_has_them(files):
    """Closed, of several parts, whole numbers."""
    for record in files.dt:
        shape = corners(record['bbox'])
        record['segmentation'] = [[round(value) for value in (*shape, *shape[:2])], [1, 1, 3, 1, 3, 3]]
    assert_plain(files.run('eval', *SEGM), plain(files.gt, files.dt, 'segm'))
