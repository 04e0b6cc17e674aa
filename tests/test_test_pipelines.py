"""What the test pipelines give: `--show-dir` draws the annotations on the picture as it is on the disk."""

from functools import cache

import mmcv
import mmengine.config.utils
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmhybrid.paths import config_path

from .test_configs import CONFIGS

# One of each data set's pipelines; all configs under the mark `slow`.
FEW = ('demo_mask_rcnn_tiedresnet_occluded_shapes', 'mask_rcnn_tiedresnet50_fpn_2x', 'retinanet_tiedresnet50_fpn_2x')
FEW_THEN_ALL = [pytest.param(p.stem, marks=() if p.stem in FEW else pytest.mark.slow) for p in CONFIGS]
HEIGHT, WIDTH = 40, 70
BOX = [10.0, 5.0, 40.0, 25.0]  # corners


@pytest.fixture(scope='module', autouse=True)
def quick_to_read():
    """MMEngine reads all of MMDetection's metafiles again for each `mmdet::` in a config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
        yield


def of_one_picture(name, folder):
    """What the test pipeline of a config makes of a picture with one annotated rectangle."""
    x0, y0, x1, y1 = BOX
    path = folder / 'picture.png'
    mmcv.imwrite(np.zeros((HEIGHT, WIDTH, 3), np.uint8), str(path))
    cfg = Config.fromfile(config_path(name))
    init_default_scope(cfg.default_scope)
    instance = dict(bbox=BOX, bbox_label=0, ignore_flag=0, mask=[[x0, y0, x1, y0, x1, y1, x0, y1]])
    given = dict(img_path=str(path), img_id=1, height=HEIGHT, width=WIDTH, instances=[instance])
    return Compose([TRANSFORMS.build(step) for step in cfg.test_dataloader.dataset.pipeline])(given)


@pytest.mark.parametrize('name', FEW_THEN_ALL)
def test_annotations_are_those_of_the_picture_on_the_disk(name, tmp_path):
    made = of_one_picture(name, tmp_path)
    sample = made['data_samples']
    assert sample.ori_shape == (HEIGHT, WIDTH)
    assert made['inputs'].shape[1:] == sample.img_shape != sample.ori_shape
    assert sample.gt_instances.bboxes.tensor.tolist() == [BOX]
    has_masks = 'mask_rcnn' in name
    assert hasattr(sample.gt_instances, 'masks') == has_masks
    if has_masks:
        (mask,) = sample.gt_instances.masks.to_ndarray()
        assert mask.shape == sample.ori_shape
        assert mask.sum() == (BOX[2] - BOX[0]) * (BOX[3] - BOX[1])
