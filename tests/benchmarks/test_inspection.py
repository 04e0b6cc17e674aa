"""docs/inspect.md is what its template and the kept findings give, and its commands are ones that can be typed."""

import importlib.util
import re
import shlex

import pytest

from mmhybrid.inspecting.cli import build_parser
from mmhybrid.inspecting.kinds import KINDS

from ..test_rooms import REPO


@pytest.fixture(scope='module')
def inspection():
    spec = importlib.util.spec_from_file_location('inspection', REPO / 'benchmarks' / 'inspection.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_is_kept(inspection):
    kept = inspection.kept()
    assert set(kept) == set(inspection.COMMANDS)
    page = inspection.render(inspection.TEMPLATE.read_text(encoding='utf-8'), kept)
    assert page == inspection.PAGE.read_text(encoding='utf-8')
    assert '{{' not in page
    pictures = re.findall(r'\]\(images/inspect/([^)]+)\)', page)
    assert sorted(pictures) == sorted(path.name for path in inspection.IMAGES.iterdir())


def test_the_page_has_every_kind_and_its_commands_can_be_typed(inspection):
    page = inspection.PAGE.read_text(encoding='utf-8')
    assert all(f'## {kind}\n' in page and f'(#{kind})' in page for kind in KINDS)
    blocks = re.findall(r'```bash\n(mmhybrid inspect [^`]*?)   # (\d+) s\n```', page)
    assert len(blocks) == len(inspection.COMMANDS)
    for command, seconds in blocks:
        words = shlex.split(command.replace('\\\n', ' '))
        assert build_parser().parse_args(words[2:]).kind in KINDS
        assert int(seconds) < 120
    assert {record['kind'] for record in inspection.kept().values()} == set(KINDS)


def test_long_lists_are_left_out_and_counted(inspection):
    numbers = {'a': list(range(200)), 'b': [[0] * 100, {'c': [0] * 101}], 'd': {'e': [1, [2]]}, 'f': 'text'}
    kept = inspection.shortened(numbers)
    assert kept == {**numbers, 'b': '201 values left out'}
