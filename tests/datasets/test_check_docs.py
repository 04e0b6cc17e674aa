"""docs/data.md lists the kinds of fault as the code has them, and shows what the command prints."""

import re
from pathlib import Path

from mmhybrid import cli
from mmhybrid.datasets.check import KINDS

from . import faulty

PAGE = (Path(__file__).resolve().parents[2] / 'docs' / 'data.md').read_text(encoding='utf-8')
# Differs between versions of Pillow.
UNREAD = re.compile(r'\(\d+ bytes not processed\)')


def test_each_kind_has_its_row():
    rows = re.findall(r'^\| `([\w-]+)` \| (\w+) \| (.*?) \| (.*) \|$', PAGE, re.M)
    assert rows == [(name, kind.severity, kind.title, kind.effect) for name, kind in KINDS.items()]


def test_the_output_is_real(tmp_path, monkeypatch, capsys):
    faulty.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '80')
    command = re.search(r'^`mmhybrid (data check .*)` prints$', PAGE, re.M)[1]
    assert cli.main(command.split()) == 1
    shown = re.search(r'^```text\n(.*?)^```', PAGE, re.M | re.S)[1]
    printed = ''.join(f'{line.rstrip()}\n' for line in capsys.readouterr().out.splitlines())
    assert UNREAD.sub('', shown).strip() == UNREAD.sub('', printed).strip()
