"""A detector begins with a backbone's file, or says why not."""

import mmhybrid
from mmhybrid.checkpoints.backbone_files import write_backbone

from .conftest import DEMO, small

NARROW = dict(base_channels=16, base_width=8)
ONE_STAGE = dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))


def test_training_begins_with_it_or_refuses(shapes, forked_tool, tmp_path):
    state = mmhybrid.create_backbone('tiedresnet50', **NARROW, **ONE_STAGE).state_dict()
    path = write_backbone(state, tmp_path / 'x.safetensors', dict(variant='tiedresnet50', options=NARROW))
    options = {f'model.backbone.{key}': str(value).replace(' ', '') for key, value in ONE_STAGE.items()}
    options |= {'model.neck.in_channels': '[64]', 'train_cfg.max_epochs': 1, 'backbone_checkpoint': path}
    train = ('train.py', DEMO, '--work-dir')

    wrong = forked_tool(*train, tmp_path / 'wrong', *small(shapes, **options, **{'model.backbone.base_width': 4}))
    assert wrong.returncode == 2
    told = wrong.stderr.strip().splitlines()[-1]
    assert told.startswith(f'error: The weights {path}, which are of tiedresnet50 with base_channels=16, base_width=8,')
    assert 'layer1.0.conv1.weight has the shape (16, 8, 1, 1) there and (8, 8, 1, 1) here' in told
    assert not (tmp_path / 'wrong').exists()  # nothing was begun

    right = forked_tool(*train, tmp_path / 'right', *small(shapes, **options))
    assert right.returncode == 0, right.stderr
    assert (
        'Weights of TiedResNet: 79 of 79 tensors were loaded; they are, as the file says' in right.stdout + right.stderr
    )
