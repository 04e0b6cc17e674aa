"""What ``mmhybrid publish`` refuses, in one sentence."""

import pytest

from . import test_publish
from .attacks import write
from .test_publish import Classifier, publish

classifier = test_publish.classifier  # a fixture


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--backbone', 'tiedresnet'], "no backbone 'tiedresnet'; did you mean"),
        (['--backbone', 'tiedresnet50', '--options', 'bas_width=3'], "unexpected keyword argument 'bas_width'"),
        (['--options', 'base_width'], "'base_width' is none"),
        (['--options', 'base_channels=0'], 'There is no tiedresnet50 with'),
        (['--options', 'stem_channels=-4'], 'There is no tiedresnet50 with'),
        (['--options', 'type=ResNet'], '--options type is nothing by which a backbone differs'),
        (['--to', 'model.pt'], '--to model.pt: a backbone is written as .safetensors or .pth'),
        (['--to', 'a.pth', '--format', 'safetensors'], 'ends with .pth, and --format is safetensors'),
        (['--top1', '141'], "'141' is no percentage"),
        (['--epochs', 'ten'], "'ten' is no whole number"),
        (['--to', '/dev/null/x'], 'is no folder to write in'),
    ],
)
def test_mistakes(classifier, capsys, words, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    try:
        assert publish(classifier(), *words) == 2
    except SystemExit as error:  # of argparse
        assert error.code == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.strip().splitlines()[-1].startswith('error: ')
    assert not list(tmp_path.glob('*.safetensors'))
    assert not (tmp_path / 'model.pt').exists()


@pytest.mark.parametrize('what', ['int32', 'nan'])
def test_what_is_no_number_is_not_published(classifier, tmp_path, capsys, what):
    state = classifier.model.state_dict()
    name = 'backbone.layer1.1.conv3.weight'
    state[name] = state[name].int() if what == 'int32' else state[name] * float('nan')
    assert publish(classifier(state_dict=state), '--to', tmp_path / 'out') == 2
    err = capsys.readouterr().err
    told = 'is of the type int32' if what == 'int32' else 'has 2048 of 2048 numbers that are not finite'
    assert f'cannot be published: layer1.1.conv3.weight {told}' in err
    assert not list(tmp_path.glob('out/*'))


def test_files_that_are_none(tmp_path, capsys):
    assert publish(tmp_path / 'nix.pth') == 2
    assert 'There is no checkpoint' in capsys.readouterr().err
    path = write('open', tmp_path / 'bad.pth', tmp_path / 'marker', Classifier().state_dict())
    assert publish(path, '--to', tmp_path) == 2
    assert 'is not read, because it names' in capsys.readouterr().err
    assert not (tmp_path / 'marker').exists()
