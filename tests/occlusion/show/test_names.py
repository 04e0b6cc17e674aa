"""Names from a user's files, which may hold anything, where a terminal or a page shows them."""

import io
import json
import sys
from pathlib import Path

import pytest

from mmhybrid.occlusion.cli import main
from mmhybrid.occlusion.show.sheet import Column, Sheet
from mmhybrid.occlusion.show.terminal import print_sheets
from mmhybrid.text import SHOWN, clean, escaped, is_unsafe, show

from ..synthetic import dataset

STEERING = ['\x1b[31m', '\x9b2J', '\x07', '\x7f', '\u202ex', '\u2066x', '\u2028', '\ud800', 'a\rb', 'a\nb']


@pytest.mark.parametrize('name', STEERING)
def test_what_steers_is_never_shown_as_it_is(name):
    for shown in (clean(name), escaped(name)):
        assert not any(map(is_unsafe, shown))
        shown.encode('utf-8')


def test_other_scripts_and_signs_stay():
    for name in ('Zürich 東京', 'مطر', 'गाड़ी', '👩\u200d👧', "a'b", 'a\\nb'):
        assert clean(name) == escaped(name) == name
    assert escaped('\x1b[2J\n') == '\\x1b[2J\\n' and clean('a\tb\x1b') == 'a b?'


@pytest.mark.parametrize('name', STEERING)
def test_no_table_lets_it_through(name):
    printed = io.StringIO()
    columns = (Column(name, (name,)), Column('AP', (name,), (name,), group=name))
    print_sheets([Sheet(name, columns, ((name, 1),), (False,), (name,))], printed, 80)
    assert not any(is_unsafe(char) for char in printed.getvalue() if char != '\n')


def test_errors_and_tables_of_a_hostile_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gt, dt = dataset(2)
    hostile = ''.join(STEERING)
    for row in gt['categories']:
        row['name'] = f'=1+{hostile}{row["id"]}'
    for row in gt['images']:
        row['file_name'] = hostile
    Path('gt.json').write_text(json.dumps(gt))
    Path('dt.json').write_text(json.dumps(dt))
    Path('x.csv').write_text('image_id,\x1b[31ma,\x1b[31mb\n', encoding='utf-8')
    files = ['--ann', 'gt.json', '--results', 'dt.json', '--out-dir', 'out', '--format', 'csv', 'md', 'html']
    assert (
        main(['eval', *files, '--full', '--bootstrap', '0', '--name', hostile if sys.platform == 'linux' else 'x']) == 0
    )
    assert main(['ratio', '--ann', 'gt.json', '--out', 'out/r.csv', '--instances', 'out/i.csv']) == 0
    assert main(['ratio', '--ann', 'gt.json', '--values', 'x.csv']) == 2
    printed = capsys.readouterr()
    assert r"'\x1b[31ma', '\x1b[31mb'" in printed.err
    written = [path.read_text(encoding='utf-8') for path in Path('out').iterdir()]
    assert len(written) == 8
    for shown in (*printed, *written):
        assert not any(is_unsafe(char) for char in shown if char not in '\n\t')


def test_a_message_quotes_no_more_than_a_line_or_two():
    value = 'x' * 99
    for _ in range(5):
        value = [value] * 9
    assert len(show(value)) == SHOWN and show(value).startswith('[[[[') and show(value).endswith(', ...], ...]')
    assert show({'a\n': [1, 'b']}) == "{'a\\n': [1, 'b']}"
