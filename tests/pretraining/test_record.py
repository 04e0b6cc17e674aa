"""What a run tells about itself; tests/tools/test_pretrain.py looks at real runs."""

from types import SimpleNamespace

import pytest
from torch import nn
from torch.utils.data import DataLoader

from mmhybrid.errors import InputError
from mmhybrid.pretraining import PretrainingHook
from mmhybrid.pretraining.record import accuracy, data_name


class Pictures(list):
    def __init__(self, classes):
        super().__init__([0] * 9)
        self.metainfo = dict(classes=classes)


def loop(classes, batch_size=4):
    return SimpleNamespace(dataloader=DataLoader(Pictures(classes), batch_size=batch_size, drop_last=True))


def runner(train, val, num_classes, **parts):
    model = nn.Module()
    model.head = SimpleNamespace(num_classes=num_classes)
    cfg = SimpleNamespace(model={})
    loops = dict(train_loop=loop(train), val_loop=val and loop(val), test_loop=val and loop(val))
    return SimpleNamespace(**(loops | dict(model=model, cfg=cfg, _resume=False, _load_from='x.pth') | parts))


def test_the_hook_compares_classes_whoever_began_the_run():
    PretrainingHook().before_train(runner(('a', 'b'), ('a', 'b'), 2))
    PretrainingHook().before_train(runner(('a', 'b'), None, 2))
    with pytest.raises(InputError, match="class 'b' is in the pictures of train and not in those of val"):
        PretrainingHook().before_train(runner(('a', 'b'), ('a',), 2))
    with pytest.raises(InputError, match='num_classes=2'):
        PretrainingHook().before_train(runner(('a', 'b'), ('a', 'b'), 10))
    with pytest.raises(InputError, match='9 pictures to train with, which fill no batch of 12'):
        PretrainingHook().before_train(runner(('a', 'b'), None, 2, train_loop=loop(('a', 'b'), 12)))


@pytest.mark.parametrize('when', ['before_test', 'before_val'])
def test_weights_of_other_classes_are_not_measured(when):
    checkpoint = dict(state_dict={}, meta=dict(dataset_meta=dict(classes=('a', 'b'))))

    def measure(classes, num_classes=2, checkpoint=checkpoint):
        hook, run = PretrainingHook(), runner(('a', 'b'), classes, num_classes)
        hook.after_load_checkpoint(run, checkpoint)
        getattr(hook, when)(run)

    measure(('a', 'b'))
    measure(('b', 'a'), checkpoint=dict(state_dict={}))  # nobody knows
    with pytest.raises(InputError, match=r'x\.pth was trained on other classes .*: the classes have another order'):
        measure(('b', 'a'))
    with pytest.raises(InputError, match=r"the classes were \['a', 'b'\] \(2\) and are \['a', 'c'\]"):
        measure(('a', 'c'))
    with pytest.raises(InputError, match=r'have 3 classes .* and the classifier has 2'):
        measure(('a', 'b', 'c'))


def test_a_training_may_begin_with_weights_of_other_classes():
    hook, run = PretrainingHook(), runner(('c', 'd'), ('c', 'd'), 2)
    hook.after_load_checkpoint(run, dict(state_dict={}, meta=dict(dataset_meta=dict(classes=('a', 'b')))))
    hook.before_train(run)
    hook.before_val(run)
    hook.after_train(run)
    hook.before_test(run)


@pytest.mark.parametrize('content', ['', 'no json', '[1]', '{"of another kind": {}}'])
def test_a_file_of_another_kind_has_no_accuracies(tmp_path, content):
    path = tmp_path / 'accuracy.json'
    assert accuracy(path) == {}
    path.write_text(content)
    assert accuracy(path) == {}


def test_the_data_are_named_for_their_folder(tmp_path, monkeypatch):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'cifar10').symlink_to(tmp_path / 'disk')
    monkeypatch.chdir(tmp_path)
    assert [data_name(root) for root in ('cifar10/', './cifar10', 'disk/../cifar10/')] == ['cifar10'] * 3
    assert [data_name(root) for root in ('.', './')] == [tmp_path.name] * 2
    assert [data_name(root) for root in ('/', '', None)] == [None] * 3
