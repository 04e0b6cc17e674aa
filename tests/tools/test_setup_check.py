"""What set-up sees of an environment: made-up metadata, and the environment that runs the tests."""

import importlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import packaging
import pytest

from .conftest import REPO


@pytest.fixture
def setup_check(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'tools')
    return importlib.import_module('setup_check')


@pytest.fixture
def site(tmp_path, monkeypatch, setup_check):
    """A folder whose distributions are the only ones that are installed."""
    folder = tmp_path / 'site'
    folder.mkdir()
    whole = metadata.distributions
    monkeypatch.setattr(setup_check.metadata, 'distributions', lambda **named: whole(path=[str(folder)], **named))
    return folder


def install(site, name, version='1.0', requires=()):
    """Write what pip would of a distribution with one module."""
    info = site / f'{name}-{version}.dist-info'
    info.mkdir()
    requires = ''.join(f'Requires-Dist: {line}\n' for line in requires)
    text = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}\nName: of the description\n'
    (info / 'METADATA').write_text(text)
    files = [f'../bin/{name}', f'{name}/__init__.py', f'{info.name}/METADATA', f'{info.name}/RECORD']
    (info / 'RECORD').write_text(''.join(f'{file},,\n' for file in files))
    (site / name).mkdir(exist_ok=True)
    (site / name / '__init__.py').touch()


def missing(setup_check, *roots):
    have, _ = setup_check.installed()
    return setup_check.missing(have, list(roots))


def test_what_is_not_there_or_too_old_is_named_as_it_is_required(setup_check, site):
    install(site, 'mmhybrid', requires=['rich>=13', 'Jinja2>=3', 'numpy', 'rich', 'old<2 ; python_version < "3"'])
    install(site, 'rich', '12.9')
    install(site, 'jinja2', '3.1')
    assert missing(setup_check, 'mmhybrid', 'pytest>=8') == ['numpy', 'pytest>=8', 'rich>=13']


def test_an_extra_adds_only_what_it_asks_for(setup_check, site):
    install(site, 'mmhybrid', requires=['rich', "ruff>=0.9 ; extra == 'dev'", "hotcoco>=1.3 ; extra == 'fast'"])
    install(site, 'rich')
    assert missing(setup_check, 'mmhybrid') == []
    assert missing(setup_check, 'mmhybrid[fast]') == ['hotcoco>=1.3']
    assert missing(setup_check, 'mmhybrid[dev,fast]') == ['hotcoco>=1.3', 'ruff>=0.9']


def test_what_others_require_must_be_there_in_any_version(setup_check, site):
    install(site, 'mmhybrid', requires=['matplotlib[all]'])
    install(site, 'matplotlib', requires=['numpy<2', 'cycler', "fonts ; extra == 'all'"])
    install(site, 'numpy', '2.2', requires=['matplotlib'])  # and a circle ends
    assert missing(setup_check, 'mmhybrid') == ['cycler', 'fonts']


def test_any_opencv_will_do(setup_check, site):
    install(site, 'mmcv', requires=['opencv-python>=3'])
    assert missing(setup_check, 'mmcv') == ['opencv-python>=3']
    install(site, 'opencv_python_headless')
    assert missing(setup_check, 'mmcv') == []


def test_metadata_without_files_is_not_an_installation(setup_check, site):
    install(site, 'rich')
    install(site, 'numpy')
    (site / 'rich' / '__init__.py').unlink()
    have, hollow = setup_check.installed()
    assert (list(have), hollow) == (['numpy'], ['rich'])


def test_the_package_must_be_this_checkout(setup_check, site, monkeypatch, tmp_path):
    checkout = tmp_path / 'check out'
    checkout.mkdir()
    (checkout / 'pyproject.toml').touch()
    monkeypatch.setattr(setup_check, 'REPO', checkout)
    assert setup_check.package() == 'mmhybrid is not installed'
    install(site, 'mmhybrid', '0.1')
    assert setup_check.package() == 'mmhybrid is installed from elsewhere'
    url = site / 'mmhybrid-0.1.dist-info' / 'direct_url.json'
    for folder, editable, says in (
        (checkout, False, 'mmhybrid is installed from elsewhere'),
        (tmp_path, True, 'mmhybrid is installed from elsewhere'),
        (checkout, True, ''),
    ):
        url.write_text(json.dumps({'url': folder.as_uri(), 'dir_info': {'editable': editable}}))
        assert setup_check.package() == says
    # However old the content claims to be, as after unpacking an archive.
    os.utime(site / 'mmhybrid-0.1.dist-info' / 'RECORD', (1e9, 1e9))
    os.utime(checkout / 'pyproject.toml', (1, 1))
    assert setup_check.package() == 'pyproject.toml changed since mmhybrid was installed'


def test_the_line_is_known_from_what_is_left_of_it(setup_check):
    assert setup_check.stack_line({}) == setup_check.stack_line({'torch': None}) == ''
    assert setup_check.stack_line({'mmcv': None, 'mmdet': None}) == 'stock'
    assert setup_check.stack_line({'onedl-mmcv': None}) == 'onedl'


def test_operators_that_do_not_link_are_seen(setup_check, monkeypatch, tmp_path):
    find_spec = setup_check.find_spec
    assert setup_check.operators() == ''  # with these the tests run
    assert setup_check.lacking_stack() == []
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'mmcv', raising=False)
    assert find_spec('mmcv').origin.startswith(str(tmp_path))
    assert setup_check.operators() == 'mmcv was installed without its operators'
    (tmp_path / 'mmcv' / '_ext.so').write_text('not a library')
    assert 'invalid ELF header' in setup_check.operators() or 'too short' in setup_check.operators()


def test_an_environment_with_nothing_in_it(tmp_path):
    """The check runs with the Python of an environment, and all is lacking."""
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path / 'venv'], check=True)
    (tmp_path / 'packaging').symlink_to(Path(packaging.__file__).parent)
    done = subprocess.run(
        [tmp_path / 'venv' / 'bin' / 'python', REPO / 'tools' / 'setup_check.py', 'mmhybrid[fast]', 'pytest>=8'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert json.loads(done.stdout) == {
        'line': '',
        'hollow': [],
        'lacking': ['torch', 'mmengine', 'mmcv', 'mmdet'],
        'missing': ['pytest>=8'],
        'operators': 'mmcv or torch is not installed',
        'package': 'mmhybrid is not installed',
        'problem': '',
    }
