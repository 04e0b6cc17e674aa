"""Numbers stay what they were: four synthetic data sets against results that are kept in ``pinned/``.

A changed number is a fault until somebody has said why it is right. Then ``python -m tests.occlusion.test_pinned``
writes the kept results again, with pycocotools.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mmhybrid.occlusion import Details, Selection, compare
from mmhybrid.occlusion.results import SAMPLED, to_json

from .synthetic import dataset, hard_dataset

FOLDER = Path(__file__).parent / 'pinned'
# What the kept results hold of each part.
STRATUM = (
    *('name', 'num_images', 'num_instances', 'num_categories', 'ap', 'ap50', 'ap75', 'aps', 'apm', 'apl', 'ar'),
    *('ap_common', 'intervals', 'errors', 'categories'),
)
CATEGORY = ('id', 'num_images', 'num_instances', 'ap', 'ap50', 'ap75', 'ar')


def amodal():
    """Masks of which a part is hidden."""
    gt, dt = dataset(3, masks=True, many=False)
    rng = np.random.default_rng(3)
    for annotation in gt['annotations']:
        x, y, w, h = annotation['bbox']
        seen = round(w * (1 - 0.9 * rng.random() ** 2))
        annotation['amodal_segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        annotation['segmentation'] = [[x, y, x + seen, y, x + seen, y + h, x, y + h]]
        annotation['iscrowd'] = 0
    return gt, dt


FEW = {'edges': (0, 0.25, 0.5, 1), 'thresholds': (0.25,)}
# Name -> data, IoU types, what makes the strata.
SETS = {
    'boxes': (lambda: dataset(0), ('bbox',), {}),
    'masks': (lambda: dataset(1, masks=True), ('bbox', 'segm'), FEW),
    'hard': (lambda: hard_dataset(5, True, 12), ('bbox', 'segm'), FEW | {'definition': 'pairwise'}),
    'amodal': (amodal, ('segm',), FEW | {'definition': 'invisible'}),
}


def numbers(name, engine):
    """What a comparison of all detections with every second one gives, as JSON has it, of the parts above."""
    make, iou_types, selection = SETS[name]
    gt, dt = make()
    compared = compare(
        gt, {'all': dt, 'half': dt[::2]}, iou_types, Selection(**selection), engine, Details.full(resamples=20, seed=1)
    )
    document = json.loads(to_json(compared.results, compared.comparisons))
    results = []
    for result in document['results']:
        kept = {key: result[key] for key in ('name', 'iou_type', 'num_common_categories', 'instances')}
        filled = [stratum for stratum in result['strata'] if stratum['num_images']]
        kept['strata'] = [{key: stratum[key] for key in STRATUM} for stratum in filled]
        for stratum in kept['strata']:
            stratum['categories'] = [{key: each[key] for key in CATEGORY} for each in stratum['categories']]
        results.append(kept)
    differences = [
        [each['name'], each['metric'], each['difference'], each['interval'], each['p_value']]
        for comparison in document['comparisons']
        for each in comparison['differences']
        if each['num_images'] and each['metric'] in SAMPLED
    ]
    return {'results': results, 'differences': differences}


def assert_close(got, kept, where='pinned'):
    """Equal in form, and each number to 1e-12 of the kept one."""
    if isinstance(kept, dict):
        assert got.keys() == kept.keys(), where
        for key, value in kept.items():
            assert_close(got[key], value, f'{where}.{key}')
    elif isinstance(kept, list):
        assert len(got) == len(kept), where
        for position, value in enumerate(kept):
            assert_close(got[position], value, f'{where}[{position}]')
    elif isinstance(kept, float):
        assert math.isclose(got, kept, rel_tol=1e-12, abs_tol=1e-15), (where, got, kept)
    else:
        assert (type(got), got) == (type(kept), kept), where


@pytest.mark.parametrize('engine', ['pycocotools', 'hotcoco'])
@pytest.mark.parametrize('name', SETS)
def test_numbers_are_what_they_were(name, engine):
    if engine == 'hotcoco':
        pytest.importorskip('hotcoco')
    kept = json.loads((FOLDER / f'{name}.json').read_text())
    assert len(kept['results'][0]['strata']) > 4 and kept['differences']
    assert_close(numbers(name, engine), kept)


def test_a_changed_number_is_seen():
    kept = json.loads((FOLDER / 'boxes.json').read_text())
    changed = json.loads((FOLDER / 'boxes.json').read_text())
    changed['results'][0]['strata'][1]['ap'] *= 1 + 1e-11
    with pytest.raises(AssertionError, match='ap'):
        assert_close(changed, kept)


if __name__ == '__main__':
    FOLDER.mkdir(exist_ok=True)
    for name in SETS:
        (FOLDER / f'{name}.json').write_text(json.dumps(numbers(name, 'pycocotools'), separators=(',', ':')) + '\n')
