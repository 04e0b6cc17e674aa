"""docs/backbones.md, docs/configs.md and what ``mmhybrid models`` shows are what their generator writes; links hold."""

import re
from pathlib import Path

import pytest
from mmhybrid.tools import make_docs

from mmhybrid.counting import COUNTED, count_model, kept_models
from mmhybrid.zoo import FAMILIES, VARIANTS
from tests import config_page
from tests.config_page import integer
from tests.test_zoo import PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'backbones.md'
PAGES = [*ROOT.glob('*.md'), *(path for path in PAGE.parent.glob('*.md') if not path.name.endswith('.template.md'))]
ROW = re.compile(r'^\| `(\w+)` \| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d ]+) \| ([\d ]+) \|$', re.M)


def test_every_variant_and_family_has_its_place():
    text = PAGE.read_text()
    rows = {row[0]: row for row in ROW.findall(text)}
    assert list(rows) == list(VARIANTS)
    for name, row in rows.items():
        assert row[1] == VARIANTS[name].type
        assert integer(row[2]) == PARAMETERS[name]
    assert re.findall(r'^## (.*)$', text, re.M) == [family.docs for family in FAMILIES.values()]
    assert all(f'https://arxiv.org/abs/{family.arxiv}' in text for family in FAMILIES.values())
    assert '{{' not in text


# One of each way to multiply: convolutions, linear layers, matrix products.
@pytest.mark.parametrize('name', ['tiedresnest50_s', 'se_resnet50', 'hcgnet_a1'])
def test_multiply_adds_are_those_of_the_code(name):
    row = next(row for row in ROW.findall(PAGE.read_text()) if row[0] == name)
    counted = count_model(name, (32, 32) if name == 'hcgnet_a1' else (224, 224))
    assert integer(row[4]) == counted.multiply_adds
    assert counted in kept_models()


def test_what_is_kept_is_what_the_page_says():
    rows = {row[0]: row for row in ROW.findall(PAGE.read_text())}
    kept = {row.name: row for row in kept_models()}
    assert list(kept) == list(VARIANTS)
    for name, row in kept.items():
        assert (row.parameters, row.multiply_adds) == (PARAMETERS[name], integer(rows[name][4]))
        assert [' '.join(map(str, each)) for each in (row.out_channels, row.out_strides)] == list(rows[name][5:7])
    assert [row.name for row in kept_models('hcgnet')] == [n for n, v in VARIANTS.items() if v.family == 'hcgnet']


def test_prose_is_the_templates():
    template = (PAGE.parent / 'backbones.template.md').read_text()
    prose = re.split(r'\{\{[^}]*\}\}', template.replace('{{counted}}', COUNTED))
    assert all(part in PAGE.read_text() for part in prose)


@pytest.mark.slow
def test_the_pages_are_what_the_generator_writes(tmp_path):
    written = {option: tmp_path / option for option in ('out', 'json', 'configs')}
    assert make_docs.main([word for option, path in written.items() for word in (f'--{option}', str(path))]) == 0
    for option, path in dict(out=PAGE, json=make_docs.KEPT, configs=config_page.PAGE).items():
        assert written[option].read_text() == path.read_text()


def test_the_page_of_configs_follows_from_the_tables():
    # tests/test_configs.py holds its numbers against every config.
    template = (PAGE.parent / 'configs.template.md').read_text()
    assert make_docs.render_configs(template, config_page.told()) == config_page.PAGE.read_text()


def test_the_page_of_configs_links_every_config():
    linked = re.findall(r'\]\(\.\./configs/([\w/]+\.py)\)', config_page.PAGE.read_text())
    folder = make_docs.CONFIGS
    files = [path for pattern in ('*.py', 'pretrain/*.py') for path in folder.glob(pattern)]
    assert sorted(linked) == sorted(path.relative_to(folder).as_posix() for path in files)


def test_the_index_has_every_page():
    pages = {path.name for path in PAGES if path.parent == PAGE.parent} - {'index.md'}
    linked = set(re.findall(r'\]\((\w+\.md)\)', (PAGE.parent / 'index.md').read_text()))
    assert linked == pages


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', page.read_text(encoding='utf-8'))
    assert not [link for link in links if not (page.parent / link).exists()]
