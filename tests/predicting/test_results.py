import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as rle

from mmhybrid.errors import InputError
from mmhybrid.predicting.pictures import Picture, Source
from mmhybrid.predicting.results import Ids, Results


def picture(path):
    return Picture(Source(Path(path), Path(path).name), Path(path).name, str(path))


def sample(labels, masks=None, **more):
    found = InstanceData(
        bboxes=torch.tensor([[1.0, 2.0, 5.0, 8.0]] * len(labels)),
        scores=torch.linspace(0.9, 0.5, len(labels)),
        labels=torch.tensor(labels),
    )
    for key, value in (dict(masks=masks) | more if masks is not None else more).items():
        found[key] = value
    return DetDataSample(metainfo=dict(ori_shape=(10, 20)), pred_instances=found)


@pytest.fixture
def ann(tmp_path):
    content = dict(
        images=[dict(id=7, file_name='a.jpg'), dict(id=9, file_name='night/a.jpg')],
        categories=[dict(id=3, name='dog'), dict(id=5, name='cat')],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    return str(tmp_path / 'ann.json')


def test_ids_of_a_file_are_found_by_the_ends_of_paths_and_by_names(ann):
    ids = Ids(['cat', 'dog'], ann)
    results = Results(ids)
    results.add(picture('/somewhere/night/a.jpg'), sample([1, 0]))
    results.add(picture('/somewhere/day/a.jpg'), sample([]))
    assert [image['id'] for image in results.images] == [9, 7]
    assert [(r['image_id'], r['category_id']) for r in results.boxes] == [(9, 3), (9, 5)]
    with pytest.raises(InputError, match=r'other/a.jpg and /somewhere/day/a.jpg are the same image'):
        results.add(picture('/other/a.jpg'), sample([]))


def test_without_a_file_all_count_from_1_and_masks_keep_their_own_scores(tmp_path):
    results = Results(Ids(['cat', 'dog']))
    results.add(picture('/x/a.jpg'), sample([]))
    mask = torch.zeros(1, 10, 20, dtype=torch.bool)
    mask[0, 2:8, 1:5] = True
    results.add(picture('/x/b.jpg'), sample([1], mask, mask_scores=torch.tensor([0.25])))
    paths = results.write(tmp_path)
    boxes, masks, images = (json.loads(path.read_text()) for path in paths)
    assert boxes == [dict(image_id=2, bbox=[1.0, 2.0, 4.0, 6.0], score=pytest.approx(0.9), category_id=2)]
    assert masks[0].pop('score') == 0.25
    decoded = rle.decode(masks[0].pop('segmentation'))
    assert np.array_equal(decoded, mask[0].numpy())
    assert masks == [{key: value for key, value in boxes[0].items() if key != 'score'}]
    assert images['images'][1] == dict(id=2, file_name='b.jpg', width=20, height=10)
    assert images['categories'] == [dict(id=1, name='cat'), dict(id=2, name='dog')]


def test_mistakes_in_an_annotation_file(ann, tmp_path):
    with pytest.raises(InputError, match=r"has no category 'bird', .*\(1 of 2 classes are missing\)"):
        Ids(['cat', 'bird'], ann)
    with pytest.raises(InputError, match=r'1 of 2 pictures are not in --ann .*, as /x/c.jpg'):
        Ids(['cat'], ann).check([Path('/x/a.jpg'), Path('/x/c.jpg')])
    (tmp_path / 'list.json').write_text('[]')
    with pytest.raises(InputError, match=r'list.json is no COCO annotation file'):
        Ids(['cat'], str(tmp_path / 'list.json'))
