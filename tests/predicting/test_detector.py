import pytest
import torch
from mmengine.config import Config

from mmhybrid.errors import InputError
from mmhybrid.predicting.detector import device_of, require_boxes

# An instance segmentor, which is a MaskFormer, too.
INSTANCES = dict(panoptic_on=False, instance_on=True)


@pytest.mark.parametrize(
    ('kind', 'test_cfg', 'gives'),
    [
        ('RPN', {}, 'RPN gives regions instead'),
        ('mmdet.PanopticFPN', {}, 'PanopticFPN gives panoptic segmentations'),
        ('Mask2Former', dict(panoptic_on=True), 'Mask2Former gives panoptic'),
        ('Mask2Former', INSTANCES, None),
        ('MaskRCNN', {}, None),
    ],
)
def test_only_detectors_of_boxes_with_classes_are_taken(kind, test_cfg, gives):
    cfg = Config(dict(model=dict(type=kind, test_cfg=test_cfg)))
    if gives is None:
        require_boxes(cfg)
        return
    with pytest.raises(InputError, match=gives):
        require_boxes(cfg)


@pytest.mark.parametrize('name', ['mps', 'meta', 'nothing', 'cuda:99'])
def test_a_device_that_cannot_compute_here_is_told(name):
    if name == 'mps' and torch.backends.mps.is_available():
        pytest.skip('it can')
    with pytest.raises(InputError, match=f'--device {name}'):
        device_of(name)


def test_a_device_that_can():
    assert device_of('cpu') == 'cpu'
