"""Every command of README and of the pages for users runs, in its order, from a fresh clone and from a wheel."""

import re
import subprocess
import sys

import pytest
import torch

from . import place
from .commands import DEMO, PAGES, REPO, blocks, command, known, of_a_wheel

BLOCKS = [block for page in PAGES for block in blocks(page)]
QUICK_THEN_ALL = [pytest.param(b, id=b.name, marks=pytest.mark.slow if b.is_slow else ()) for b in BLOCKS]
IN_A_WHEEL = [block for block in BLOCKS if not block.is_slow and block.page == 'README.md']


@pytest.fixture(scope='module')
def cloned(tmp_path_factory):
    """A clone with tiny data."""
    folder = tmp_path_factory.mktemp('clone')
    place.clone(folder)
    place.furnish(folder)
    return folder


@pytest.fixture(scope='module')
def furnished(cloned):
    """The same with what long commands take."""
    place.furnish_more(cloned)
    return cloned


@pytest.fixture(scope='module')
def installed(tmp_path_factory, cloned):
    """A wheel's content, and a folder elsewhere with the same data."""
    site, elsewhere = tmp_path_factory.mktemp('site'), tmp_path_factory.mktemp('elsewhere')
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '-q']
    for words in (
        ['wheel', '--no-deps', '--no-build-isolation', '-w', str(site / 'wheel'), str(cloned)],
        ['install', '--no-deps', '--no-index', f'--find-links={site / "wheel"}', '--target', str(site), 'mmhybrid'],
    ):
        done = subprocess.run([*pip, *words], capture_output=True, text=True, cwd=elsewhere)
        assert done.returncode == 0, done.stdout + done.stderr
    place.furnish(elsewhere)
    return site, elsewhere


def follow(lines, folder, package, changed=str):
    """Run lines one after another, with what a change makes of each."""
    here = folder
    for line in lines:
        shortened, rule = known(line)
        words = changed(command(shortened, rule))
        if words.startswith('cd '):
            here = here / words.removeprefix('cd ')
            assert here.is_dir(), line
            continue
        if rule.refused and torch.cuda.is_available():
            continue
        place.before(words, folder)
        done = place.run(words, here, package, folder)
        told = f'{line}\nas\n{words}\nended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}'
        assert done.returncode in rule.status, told
        assert rule.refused in done.stderr, told
        assert 'Traceback' not in done.stderr, told


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block.name)
def test_every_command_is_known(block):
    for line in block.lines:
        assert known(line)[1] is not None, (
            f'{block.name} has a command that this test does not know: {line!r}. Add a Rule to '
            'tests/readme/commands.py that runs it, or that says what is run instead, and why.'
        )


@pytest.mark.parametrize('block', QUICK_THEN_ALL)
def test_a_block_runs_from_a_clone(block, cloned, request):
    if block.is_slow:
        request.getfixturevalue('furnished')
    follow(block.lines, cloned, cloned)


@pytest.mark.slow
def test_the_quick_blocks_run_from_a_wheel(installed):
    site, elsewhere = installed
    where = place.run("python -c 'import mmhybrid; print(mmhybrid.__file__)'", elsewhere, site, elsewhere)
    assert where.stdout.strip() == str(site / 'mmhybrid' / '__init__.py')
    lines = [line for block in IN_A_WHEEL for line in block.lines]
    mine = [line for line in lines if not known(line)[1].instead]
    assert len(mine) > 8 and not any(re.search(r'\b(tools|configs)/', of_a_wheel(line)) for line in mine)
    follow(mine, elsewhere, site, of_a_wheel)
    for words in ('python -m mmhybrid.tools.train --help', 'python -m mmhybrid train --help'):
        assert place.run(words, elsewhere, site, elsewhere).stdout.startswith('usage: ')


@pytest.mark.slow
def test_several_processes_of_a_wheel(installed):
    site, elsewhere = installed
    config = of_a_wheel(DEMO)
    words = (
        'python -m torch.distributed.run --nproc_per_node=2 --master_port=$PORT -m mmhybrid test '
        f'{config} work_dirs/demo/seed0/epoch_1.pth --launcher pytorch --json-prefix work_dirs/two '
        '--cfg-options data_root=work_dirs/demo/occluded_shapes'
    )
    done = place.run(words, elsewhere, site, elsewhere)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (elsewhere / 'work_dirs' / 'two.bbox.json').is_file()


def test_an_unknown_command_fails():
    assert known('rm -rf data')[1] is None
    assert len(BLOCKS) > 10 and (REPO / PAGES[0]).is_file()
