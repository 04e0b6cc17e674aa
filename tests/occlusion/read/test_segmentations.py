"""Which masks of the ground truth are loaded, and in which form."""

import copy

import numpy as np
import pytest
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.segmentations import AMODAL_FIELDS

from ..synthetic import SIZE, dataset, rectangle

GT, _ = dataset(3, num_images=9, masks=True, many=False)


def with_pair(amodal, visible):
    """Ground truth whose visible masks are the left part of the whole ones."""
    gt = copy.deepcopy(GT)
    for row in gt['annotations']:
        x, y, width, height = row['bbox']
        row.pop('segmentation')
        row[visible] = rectangle([x, y, width // 2, height])
        row[amodal] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return gt


def test_boxes_alone_hold_no_masks():
    loaded = load_ground_truth(GT)
    assert loaded.sizes is None
    assert loaded.segmentations is loaded.amodal_segmentations is loaded.visible_segmentations is None


def test_segmentations_in_the_order_of_the_file():
    before = copy.deepcopy(GT)
    loaded = load_ground_truth(GT, ('bbox', 'segm'))
    assert before == GT
    assert loaded.sizes.tolist() == [[SIZE, SIZE]] * len(GT['images'])
    assert loaded.images == GT['images'] and loaded.categories == GT['categories']
    for row, segmentation in zip(GT['annotations'], loaded.segmentations, strict=True):
        if row['iscrowd']:
            assert segmentation == mask.merge([segmentation])  # pycocotools takes it as it is
            assert segmentation['counts'] == row['segmentation']['counts'].encode()
        else:
            assert segmentation == row['segmentation']
    assert {row['iscrowd'] for row in GT['annotations']} == {0, 1}


def test_uncompressed_counts_become_compressed():
    gt = copy.deepcopy(GT)
    for row in gt['annotations']:
        row['segmentation'] = {'size': [SIZE, SIZE], 'counts': [5, row['id'], SIZE**2 - 5 - row['id']]}
    loaded = load_ground_truth(gt, ('segm',))
    assert mask.area(loaded.segmentations).tolist() == [row['id'] for row in gt['annotations']]


def test_sizes_are_those_of_each_image():
    gt = copy.deepcopy(GT)
    for image in gt['images']:
        image.update(height=image['id'] + 100, width=image['id'] + 200)
    for row in gt['annotations']:
        row['segmentation'] = [[0, 0, 5, 0, 5, 5]]
    loaded = load_ground_truth(gt, ('segm',))
    assert loaded.sizes.tolist() == [[image['id'] + 100, image['id'] + 200] for image in gt['images']]


@pytest.mark.parametrize('amodal, visible', AMODAL_FIELDS)
def test_amodal_masks_under_each_name(amodal, visible):
    gt = with_pair(amodal, visible)
    loaded = load_ground_truth(gt, ('amodal',))
    assert loaded.segmentations is None
    assert loaded.amodal_segmentations == [row[amodal] for row in gt['annotations']]
    widths = [row['bbox'][2] // 2 for row in gt['annotations']]
    assert mask.toBbox(loaded.visible_segmentations)[:, 2].tolist() == widths
    assert loaded.sizes.shape == (len(gt['images']), 2)


def test_amodal_and_segm_together():
    gt = with_pair('amodal_segmentation', 'segmentation')
    loaded = load_ground_truth(gt, ('bbox', 'segm', 'amodal'))
    assert loaded.segmentations == loaded.visible_segmentations
    assert loaded.amodal_segmentations != loaded.visible_segmentations


def test_the_first_annotation_that_counts_decides():
    gt = with_pair('a_segm', 'i_segm')
    gt['annotations'][0]['iscrowd'] = 1
    gt['annotations'][0]['amodal_segmentation'] = gt['annotations'][0]['segmentation'] = [[0, 0, 5, 0, 5, 5]]
    assert load_ground_truth(gt, ('amodal',)).amodal_segmentations[1] == gt['annotations'][1]['a_segm']


def test_missing_amodal_masks():
    with pytest.raises(InputError, match=r"has no amodal and visible mask, .*'a_segm' and 'i_segm'"):
        load_ground_truth(GT, ('amodal',))
    gt = with_pair('a_segm', 'i_segm')
    del gt['annotations'][-1]['i_segm']
    with pytest.raises(InputError, match=rf"annotations\[{len(gt['annotations']) - 1}\] .*'i_segm' is missing"):
        load_ground_truth(gt, ('amodal',))
    gt['annotations'][-1]['i_segm'] = {'size': [SIZE, SIZE], 'counts': 'oo'}
    with pytest.raises(InputError, match="field 'i_segm' has counts that do not fill"):
        load_ground_truth(gt, ('amodal',))
    gt['annotations'][-1]['i_segm'] = [[0, 0, 1e7, 0, 5, 5]]
    with pytest.raises(InputError, match=r"field 'i_segm' holds .* far outside"):
        load_ground_truth(gt, ('amodal',))


def test_unknown_geometry():
    with pytest.raises(InputError, match="'mask'; choose from bbox, segm, amodal"):
        load_ground_truth(GT, ('mask',))


@pytest.mark.parametrize('where', [0, -1])
@pytest.mark.parametrize(
    'value', [[], 3, 'x', None, [3], [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [[1, 2, 3, 4, 5, None]],
              [[1, 2, 3, 4, 5, True]], [[1, 2, 3, 4, 5, float('nan')]], [[1, 2, 3, 4, 5, 10**400]],
              [[1, 2, 3, 4, 5, -SIZE - 1]], [[1, 2, 3, 4, 5, 2 * SIZE + 1]], [(1, 2, 3, 4, 5, 6)]],
)  # fmt: skip
def test_one_wrong_polygon_among_many(where, value):
    gt = copy.deepcopy(GT)
    polygons = [row for row in gt['annotations'] if not row['iscrowd']]
    polygons[where]['segmentation'] = value
    with pytest.raises(InputError, match=rf"\(id {polygons[where]['id']}\): field 'segmentation'"):
        load_ground_truth(gt, ('segm',))


def test_points_up_to_one_image_outside():
    gt = copy.deepcopy(GT)
    outside = [[-SIZE, 0, 2.0 * SIZE, 0, 5, 2 * SIZE], [1, 2, 3, 4, 5, 6]]
    next(row for row in gt['annotations'] if not row['iscrowd'])['segmentation'] = outside
    loaded = load_ground_truth(gt, ('segm',))
    assert outside in loaded.segmentations
    assert isinstance(loaded.sizes, np.ndarray)
