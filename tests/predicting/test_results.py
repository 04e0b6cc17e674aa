import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as rle

from mmhybrid.predicting.ids import Ids
from mmhybrid.predicting.pictures import Picture, Source
from mmhybrid.predicting.results import Results


def picture(path):
    return Picture(Source(Path(path), Path(path).name, 'unique.jpg'), 'unique.jpg', str(path))


def sample(labels, masks=None, **more):
    found = InstanceData(
        bboxes=torch.tensor([[1.0, 2.0, 5.0, 8.0]] * len(labels)),
        scores=torch.linspace(0.9, 0.5, len(labels)),
        labels=torch.tensor(labels),
    )
    for key, value in (dict(masks=masks) | more if masks is not None else more).items():
        found[key] = value
    return DetDataSample(metainfo=dict(ori_shape=(10, 20)), pred_instances=found)


def test_without_a_file_all_count_from_1_and_masks_keep_their_own_scores(tmp_path):
    results = Results(Ids(['cat', 'dog']))
    results.add(picture('/x/a.jpg'), sample([]))
    mask = torch.zeros(1, 10, 20, dtype=torch.bool)
    mask[0, 2:8, 1:5] = True
    results.add(picture('/x/b.jpg'), sample([1], mask, mask_scores=torch.tensor([0.25])))
    paths = results.write(tmp_path, complete=True)
    boxes, masks, images = (json.loads(path.read_text()) for path in paths)
    assert boxes == [dict(image_id=2, bbox=[1.0, 2.0, 4.0, 6.0], score=pytest.approx(0.9), category_id=2)]
    assert masks[0].pop('score') == 0.25
    decoded = rle.decode(masks[0].pop('segmentation'))
    assert np.array_equal(decoded, mask[0].numpy())
    assert masks == [{key: value for key, value in boxes[0].items() if key != 'score'}]
    assert images['images'][1] == dict(id=2, file_name='b.jpg', path='/x/b.jpg', width=20, height=10)
    assert images['complete'] is True
    assert images['categories'] == [dict(id=1, name='cat'), dict(id=2, name='dog')]


def test_files_of_an_earlier_run_do_not_stay_beside_those_of_this(tmp_path):
    for name in ('results.segm.json', 'notes.json'):
        (tmp_path / name).write_text('old')
    results = Results(Ids(['cat', 'dog']))
    results.add(picture('/x/a.jpg'), sample([0]))
    paths = results.write(tmp_path, complete=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['images.json', 'notes.json', 'results.bbox.json']
    assert json.loads(paths[-1].read_text())['complete'] is False
