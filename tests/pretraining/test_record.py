"""What a run tells about itself; tests/tools/test_pretrain.py looks at real runs."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.pretraining import PretrainingHook
from mmhybrid.pretraining.record import accuracy


def loop(classes):
    return SimpleNamespace(dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes))))


def runner(train, val, num_classes):
    model = nn.Module()
    model.head = SimpleNamespace(num_classes=num_classes)
    return SimpleNamespace(train_loop=loop(train), val_loop=val and loop(val), model=model)


def test_the_hook_compares_classes_whoever_began_the_run():
    PretrainingHook().before_train(runner(('a', 'b'), ('a', 'b'), 2))
    PretrainingHook().before_train(runner(('a', 'b'), None, 2))
    with pytest.raises(InputError, match="class 'b' is in the pictures of train and not in those of val"):
        PretrainingHook().before_train(runner(('a', 'b'), ('a',), 2))
    with pytest.raises(InputError, match='num_classes=2'):
        PretrainingHook().before_train(runner(('a', 'b'), ('a', 'b'), 10))


@pytest.mark.parametrize('content', ['', 'no json', '[1]', '{"of another kind": {}}'])
def test_a_file_of_another_kind_has_no_accuracies(tmp_path, content):
    path = tmp_path / 'accuracy.json'
    assert accuracy(path) == {}
    path.write_text(content)
    assert accuracy(path) == {}
