import copy

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import nn

from mmhybrid.checkpoints.reading import read
from mmhybrid.engine import NonFiniteLossHook
from mmhybrid.engine.snapshot import images_of, save_batch
from mmhybrid.errors import InputError

from . import toy_run

NAN = float('nan')


@MODELS.register_module()
class Normed(toy_run.Dropped):
    """A batch norm, whose statistics a forward pass changes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layer.insert(0, nn.BatchNorm1d(3))


@MODELS.register_module()
class OwnSteps(toy_run.Dropped):
    """Updates its weights in its own way."""

    def train_step(self, data, optim_wrapper):
        loss = self(*self.data_preprocessor(data, True), mode='loss')['loss']
        optim_wrapper.backward(loss)
        optim_wrapper.step()
        return {'loss': loss}


@HOOKS.register_module()
class Spoil(Hook):
    """Make a number in some batches no number, in one process; and see what comes of them."""

    def __init__(self, iters, rank=0, value=NAN, seen=None):
        self.iters, self.rank, self.value, self.seen = iters, rank, value, seen

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter in self.iters and get_rank() == self.rank:
            data_batch[0][0] = self.value
        self.before = copy.deepcopy((runner.model.state_dict(), runner.optim_wrapper.state_dict()['state']))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        after = runner.model.state_dict(), runner.optim_wrapper.state_dict()['state']
        if self.seen is not None:
            self.seen[runner.iter] = self.before, copy.deepcopy(after)


def config(work_dir, iters=(), on_nonfinite='stop', rank=0, value=NAN, **changes):
    max_in_a_row = changes.pop('max_in_a_row', 20)
    hooks = [dict(type='NonFiniteLossHook', on_nonfinite=on_nonfinite, max_in_a_row=max_in_a_row)]
    hooks.append(dict(type='Spoil', iters=list(iters), rank=rank, value=value))
    return toy_run.config(work_dir, val=False, custom_hooks=hooks, **changes)


def train(cfg):
    runner = Runner.from_cfg(cfg)
    seen = {}
    next(hook for hook in runner.hooks if isinstance(hook, Spoil)).seen = seen
    runner.train()
    return runner, seen


def equal(one, two):
    """Of state dicts' contents; a tensor that was not there before is another one."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, tuple):
        return all(map(equal, one, two))
    return one is two


@pytest.mark.parametrize('value', [NAN, float('inf')])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, value):
    with pytest.raises(InputError, match=r'loss of iteration 8 is not finite \(loss (nan|inf)\)') as error:
        train(config(tmp_path, [7], value=value))
    assert f'the batch is in {tmp_path / "nonfinite_iter_8.pth"}' in str(error.value)
    assert {path.name for path in tmp_path.glob('*.pth')} == {'epoch_1.pth', 'nonfinite_iter_8.pth'}
    assert all(torch.isfinite(v).all() for v in read(tmp_path / 'epoch_1.pth')['state_dict'].values())
    kept = read(tmp_path / 'nonfinite_iter_8.pth')
    assert kept['iteration'] == 8
    assert [bool(torch.isfinite(vector).all()) for vector in kept['batch']] == [False, True]


def test_finite_losses_change_nothing(tmp_path):
    outcome = toy_run.run(toy_run.config(tmp_path / 'a', val=False))
    assert outcome == toy_run.run(config(tmp_path / 'b', on_nonfinite='skip'))


def test_a_skipped_batch_leaves_no_trace(tmp_path):
    runner, seen = train(config(tmp_path, [2, 3, 8], 'skip', model=dict(type='Normed')))
    for iteration, (before, after) in seen.items():
        assert equal(before, after) == (iteration in (2, 3, 8)), iteration
    assert len(seen) == 15
    assert runner.message_hub.get_info('nonfinite_skipped') == 3
    assert all(torch.isfinite(value).all() for value in runner.model.state_dict().values())
    assert 'update_params' not in vars(runner.optim_wrapper)


def test_skipping_has_an_end(tmp_path):
    with pytest.raises(InputError, match='there were 3 in a row'):
        train(config(tmp_path, [1, 3, 5, 6, 7], 'skip', max_in_a_row=2))


def test_gradients_that_accumulate_are_dropped_with_a_skipped_last_batch(tmp_path):
    optim = dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=2)
    runner, seen = train(config(tmp_path, [3, 4], 'skip', optim_wrapper=optim))
    changed = [iteration for iteration, (before, after) in seen.items() if not equal(before[0], after[0])]
    assert changed == [1, 5, 7, 9, 11, 13, 14]
    assert runner.optim_wrapper._inner_count == 15


def test_a_model_that_updates_itself_is_stopped_too(tmp_path):
    with pytest.raises(InputError, match=r'iteration 7 .*its weights are lost'):
        train(config(tmp_path, [6], model=dict(type='OwnSteps')))
    assert read(tmp_path / 'epoch_1.pth')['meta']['iter'] == 5


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    cfg = config(tmp_path, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)))
    runner = Runner.from_cfg(cfg)

    class Overflow(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 9:
                runner.model.layer[1].weight.data[0, 0] = NAN

    runner.register_hook(Overflow(), priority='HIGHEST')
    with pytest.raises(InputError, match=r'not finite after iteration 10 \(layer.1.weight\)'):
        runner.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


@pytest.mark.parametrize('on_nonfinite', ['stop', 'skip'])
def test_all_processes_do_what_one_has_to(tmp_path, on_nonfinite):
    outcomes = toy_run.run(config(tmp_path, [4], on_nonfinite, rank=1), processes=2)
    if on_nonfinite == 'stop':
        assert 'problem' not in outcomes[0]
        assert outcomes[0]['exit'] == 2
        assert 'iteration 5 of process 1' in outcomes[1]['problem']
        assert [path.name for path in tmp_path.glob('nonfinite*')] == ['nonfinite_iter_5_rank1.pth']
    else:
        assert [len(outcome) for outcome in outcomes] == [9, 9]
        assert np.isnan(outcomes[1][4])
        assert np.isfinite(outcomes[0][4])
        assert np.isfinite([outcome[i] for outcome in outcomes for i in range(5, 9)]).all()


def test_a_batch_of_detections_is_kept_as_data(tmp_path):
    sample = DetDataSample(metainfo=dict(img_id=3, img_path='a.jpg', scale_factor=(0.5, np.float32(0.5))))
    boxes = HorizontalBoxes([[0, 0, 2, 3]])
    masks = BitmapMasks(np.ones((1, 4, 5), dtype=np.uint8), 4, 5)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1]), masks=masks)
    batch = dict(inputs=[torch.zeros(3, 4, 5, dtype=torch.uint8)], data_samples=[sample])
    assert images_of(batch) == ['3 a.jpg']
    save_batch(tmp_path / 'batch.pth', batch, {'loss_cls': torch.tensor(NAN)}, 9)
    kept = read(tmp_path / 'batch.pth')
    assert kept['batch']['inputs'][0].shape == (3, 4, 5)
    found = kept['batch']['data_samples'][0]
    assert found['metainfo'] == dict(img_id=3, img_path='a.jpg', scale_factor=(0.5, 0.5))
    assert found['gt_instances']['masks'].sum() == 20
    assert found['gt_instances']['bboxes'].tolist() == [[0, 0, 2, 3]]


def test_another_word_is_refused():
    with pytest.raises(InputError, match="choose 'stop' or 'skip'"):
        NonFiniteLossHook('ignore')
