"""The occluded-shapes data set: every promise checked on the files that a run writes."""

import contextlib
import io
import json
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmhybrid.datasets._silhouettes import SILHOUETTES, rasterise
from mmhybrid.datasets._summary import summarise
from mmhybrid.datasets._textures import TEXTURES
from mmhybrid.datasets.occluded_shapes import generate, image_rng, render_scene, target_ratio
from mmhybrid.errors import InputError
from mmhybrid.occlusion import covered_ratio

SPLITS = {'train': 150, 'val': 50}


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """200 images of 128 x 128, drawn by one process; tests read it and change nothing."""
    root = tmp_path_factory.mktemp('shapes') / 'data'
    done = generate(root, SPLITS, size=128, progress=False)
    assert done.images == 200 and not done.reused
    return root


@pytest.fixture(scope='module')
def contents(dataset):
    return {split: json.loads((dataset / 'annotations' / f'instances_{split}.json').read_text()) for split in SPLITS}


@pytest.fixture(scope='module')
def images(contents):
    """(image record, its annotations) of both splits."""
    pairs = []
    for content in contents.values():
        by_image = defaultdict(list)
        for annotation in content['annotations']:
            by_image[annotation['image_id']].append(annotation)
        pairs += [(image, by_image[image['id']]) for image in content['images']]
    return pairs


def read_files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def tight_box(mask):
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]


# --- the files


def test_layout_of_the_files(dataset, contents):
    assert sorted(p.name for p in dataset.iterdir()) == ['annotations', 'dataset.json', 'train', 'val']
    for split, content in contents.items():
        assert sorted(p.name for p in (dataset / split).iterdir()) == [i['file_name'] for i in content['images']]
        with Image.open(dataset / split / '000000000001.jpg') as image:
            assert (image.size, image.mode, image.format) == ((128, 128), 'RGB', 'JPEG')
        assert [a['id'] for a in content['annotations']] == list(range(1, len(content['annotations']) + 1))
        assert all(image.keys() >= {'id', 'width', 'height', 'occlusion_target'} for image in content['images'])
        assert len(content['categories']) == len(SILHOUETTES) >= 8


def test_same_bytes_for_any_number_of_workers(dataset, tmp_path):
    generate(tmp_path / 'data', SPLITS, size=128, workers=2, progress=False)
    assert read_files(tmp_path / 'data') == read_files(dataset)


def test_another_seed_gives_other_images():
    first, same, other = (render_scene(image_rng(seed, 0, 0), 0.5, 128) for seed in (0, 0, 1))
    assert np.array_equal(first.image, same.image)
    assert not np.array_equal(first.image, other.image)


def test_a_longer_split_begins_with_the_shorter(contents, tmp_path):
    generate(tmp_path / 'data', {'train': 12}, size=128, progress=False)
    shorter = json.loads((tmp_path / 'data/annotations/instances_train.json').read_text())
    assert shorter['images'] == contents['train']['images'][:12]
    assert shorter['annotations'] == contents['train']['annotations'][: len(shorter['annotations'])]


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_ground_truth_as_detections_scores_one(dataset, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset / 'annotations/instances_val.json')
        keys = ('image_id', 'category_id', 'bbox' if kind == 'bbox' else 'segmentation')
        found = truth.loadRes([{**{k: a[k] for k in keys}, 'score': 1.0} for a in truth.dataset['annotations']])
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    annotation = truth.dataset['annotations'][0]
    assert truth.annToMask(annotation).sum() == annotation['area']


# --- occlusion


def test_visible_masks_are_the_amodal_ones_less_everything_nearer(images):
    for image, annotations in images:
        assert [a['depth_order'] for a in annotations] == list(range(len(annotations)))
        nearer = np.zeros((image['height'], image['width']), dtype=bool)
        for a in reversed(annotations):
            amodal = coco_mask.decode(a['amodal_segmentation']).astype(bool)
            visible = coco_mask.decode(a['segmentation']).astype(bool)
            assert np.array_equal(visible, amodal & ~nearer)
            nearer |= amodal
            assert (a['area'], a['amodal_area']) == (visible.sum(), amodal.sum())
            assert a['visible_fraction'] == pytest.approx(visible.sum() / amodal.sum(), abs=1e-6)
            assert a['bbox'] == tight_box(visible) and a['amodal_bbox'] == tight_box(amodal)
            assert a['visible_fraction'] >= 0.15 and a['area'] >= 40 and a['iscrowd'] == 0


def test_recorded_ratio_is_that_of_the_boxes(images):
    for image, annotations in images:
        ratio = covered_ratio(np.array([a['bbox'] for a in annotations]))
        assert image['occlusion_ratio'] == pytest.approx(ratio, abs=1e-9)


def test_ratios_are_near_their_targets_and_even(images):
    ratio = np.array([image['occlusion_ratio'] for image, _ in images])
    error = np.abs(ratio - [image['occlusion_target'] for image, _ in images])
    assert error.mean() <= 0.01 and error.max() <= 0.05
    assert (ratio == 0).sum() == 20
    counts, _ = np.histogram(ratio[ratio > 0], bins=9, range=(0, 0.9))
    assert (np.abs(counts - 20) <= 2).all()


def test_boxes_do_not_touch_at_ratio_zero(images):
    free = [annotations for image, annotations in images if image['occlusion_target'] == 0]
    assert len(free) == 20
    for annotations in free:
        assert all(a['visible_fraction'] == 1 for a in annotations)
        for (x, y, w, h), (u, v, s, t) in combinations([a['bbox'] for a in annotations], 2):
            assert u > x + w or x > u + s or v > y + h or y > v + t


def test_objects_are_alike_at_low_and_high_ratios(images):
    low = [annotations for image, annotations in images if image['occlusion_target'] < 0.45]
    high = [annotations for image, annotations in images if image['occlusion_target'] >= 0.45]
    for of_images in (low, high):
        assert all(3 <= len(annotations) <= 7 for annotations in of_images)
        assert np.mean([len(annotations) for annotations in of_images]) == pytest.approx(5, abs=0.6)
    sizes = [np.mean([max(a['amodal_bbox'][2:]) for of in part for a in of]) for part in (low, high)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.12)
    counts = Counter(a['category_id'] for _, annotations in images for a in annotations)
    assert len(counts) == len(SILHOUETTES) and min(counts.values()) > 0.6 * max(counts.values())


@pytest.mark.parametrize('bounds', [(0.0, 0.9), (0.2, 0.6), (0.5, 0.5), (0.0, 0.0)])
def test_targets_cover_their_range_in_every_ten(bounds):
    targets = np.array([target_ratio(3, 1, index, bounds) for index in range(40)]).reshape(4, 10)
    assert targets.min() >= bounds[0] and targets.max() <= bounds[1]
    strata = np.sort(targets, axis=1)
    width = bounds[1] - bounds[0]
    assert (np.diff(strata, axis=1) <= 0.25 * width + 1e-9).all()
    if bounds[0] == 0 < bounds[1]:
        assert ((targets == 0).sum(axis=1) == 1).all()


@pytest.mark.parametrize(('target', 'size'), [(0.0, 96), (0.95, 128), (0.7, 384)])
def test_scene_at_the_ends_of_what_can_be_asked(target, size):
    scene = render_scene(np.random.default_rng(5), target, size)
    assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
    assert scene.ratio == pytest.approx(target, abs=0.02)
    assert {i.category for i in scene.instances} <= set(SILHOUETTES)


# --- appearance


@pytest.mark.parametrize('category', SILHOUETTES)
def test_silhouettes_fill_the_extent_asked_for(category):
    for angle in (0.0, 0.7, 2.0):
        solid = rasterise(category, 60, angle, 1.1)[1:-1, 1:-1] >= 128
        assert solid[0].any() and solid[-1].any() and solid[:, 0].any() and solid[:, -1].any()
        # Soft tips (a star's, a crescent's) lose a pixel or two.
        assert 56 <= max(solid.shape) <= 61


def test_silhouettes_differ():
    masks = {name: rasterise(name, 60, 0.0, 1.0) >= 128 for name in SILHOUETTES}
    for a, b in combinations(masks, 2):
        canvas = np.zeros((2, 64, 64), dtype=bool)
        for plane, mask in zip(canvas, (masks[a], masks[b]), strict=True):
            plane[: mask.shape[0], : mask.shape[1]] = mask
        assert (canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum() < 0.93, (a, b)


@pytest.mark.parametrize('texture', TEXTURES)
def test_textures_stay_within_their_range(texture):
    field = TEXTURES[texture](40, 30, np.random.default_rng(0), 9.0)
    assert field.shape == (40, 30) and field.dtype == np.float32
    assert field.min() >= 0 and field.max() <= 1


def test_objects_stand_out_from_the_background():
    for seed in range(20):
        scene = render_scene(np.random.default_rng(seed), 0.0, 128)
        behind = ~np.any([i.amodal_mask for i in scene.instances], axis=0)
        ground = scene.image[behind].mean(axis=0)
        for instance in scene.instances:
            difference = np.abs(scene.image[instance.visible_mask] - ground).max(axis=1)
            assert np.mean(difference) > 40


def test_scene_refuses_a_ratio_that_no_layout_reaches():
    with pytest.raises(InputError, match='occlusion ratio'):
        render_scene(np.random.default_rng(0), 1.0)


def test_summary_counts_every_image(dataset):
    *strata, whole = summarise(dataset)
    assert whole.images == SPLITS and whole.mean_error <= 0.01
    assert sum(stratum.images['train'] for stratum in strata) == 150
    # Visible fractions fall as ratios rise: the strata differ in what they are meant to.
    assert strata[0].visible_fraction == 1 and strata[-1].visible_fraction < 0.75
