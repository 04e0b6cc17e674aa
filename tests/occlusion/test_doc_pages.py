"""The pages on occlusion print what their commands print, and name numbers that are recorded."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks' / 'results'
BLOCK = re.compile(r'^```text\n(.*?)^```', re.M | re.S)


@pytest.fixture(scope='module')
def maker():
    spec = importlib.util.spec_from_file_location('make_occlusion_docs', ROOT / 'tools' / 'make_occlusion_docs.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name):
    return (ROOT / 'docs' / name).read_text(encoding='utf-8')


def record(name):
    return json.loads((RESULTS / 'occlusion_pages' / f'{name}.json').read_text(encoding='utf-8'))


@pytest.mark.parametrize('name', ['shapes', 'kaist'])
def test_a_page_prints_what_its_command_printed(maker, name):
    kept, text = record(name), page(maker.EXAMPLES[name][0])
    assert kept['command'] == maker.command_of(name).splitlines()
    (block,) = BLOCK.findall(text)
    output = iter(kept['output'])
    assert not [line for line in block.splitlines() if line not in output]  # all of them, in this order
    assert block.count('\n') > 20 and not any('│' in line for line in kept['output'])


def test_no_other_output_is_printed():
    blocks = {name: len(BLOCK.findall(page(name))) for name in ('occlusion.md', 'annotated.md', 'amodal.md', 'data.md')}
    assert blocks == {'occlusion.md': 1, 'annotated.md': 1, 'amodal.md': 0, 'data.md': 1}  # tests/datasets has data.md


@pytest.mark.parametrize(('name', 'first', 'last'), [
    ('shapes', 'How to read it:', '## Files'),
    ('kaist', "- The papers' own numbers", '- r could not'),
])  # fmt: skip
def test_the_prose_names_numbers_of_the_output(maker, name, first, last):
    text = page(maker.EXAMPLES[name][0])
    prose = text[text.index(first) : text.index(last)]
    numbers = re.findall(r'(?<![\w.])\d+\.\d+', re.sub(r'r <= 0\.2|> 0\.6|than 0\.8|IoU 0\.\d+', '', prose))
    output = '\n'.join(record(name)['output'])
    assert len(numbers) > 5
    assert not [number for number in numbers if not re.search(rf'(?<![\d.]){re.escape(number)}(?!\d)', output)]


def test_the_example_runs_and_prints_the_same(maker, tmp_path):
    kept = record('shapes')
    for path, digest in kept['sha256'].items():
        assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == digest, path
    assert maker.printed('shapes', ROOT, tmp_path).splitlines() == kept['output']
    assert (tmp_path / maker.EXAMPLES['shapes'][1]).exists()


@pytest.mark.slow
def test_the_examples_images_are_the_generators(maker):
    assert maker.boxes_of_shapes() == maker.SHAPES.read_bytes()


def test_the_picture_of_the_definitions_has_the_codes_numbers(maker):
    svg = (ROOT / 'docs' / 'images' / 'occlusion_definitions.svg').read_text(encoding='utf-8')
    made = maker.in_both_themes(maker.figures.to_bytes(maker.definitions(), 'svg')).decode()
    drawn, now = (re.findall(r'>([^<>\n]+)</(?:text|tspan)>', each) for each in (svg, made))
    assert drawn == now and len(drawn) >= 6 * 3
    # Every colour of the light theme has its place in the dark one.
    body, style = svg.split('<style>@media (prefers-color-scheme: dark)')
    assert set(re.findall(r'(?:fill|stroke): #\w{6}', body)) <= set(re.findall(r'\[style\*="([^"]*)"\]', style))


def kept(name):
    return json.loads((RESULTS / f'{name}.json').read_text())['rows']


def test_recorded_numbers_stand_in_the_page():
    text = ' '.join(page('occlusion.md').split())
    shares = {kind: [f'{row["ap"]["coverage"][kind]:.0%}' for row in kept('bootstrap_coverage')] for kind in
              ('shifted', 'percentile')}  # fmt: skip
    (a, b, c), (d, e, f) = shares.values()
    assert f'held the true AP in {a}, {b} and {c} of 100 trials each, plain percentiles in {d}, {e} and {f}' in text
    seconds = {(row['engine'], row['step']): row['seconds'] for row in kept('occlusion')}
    for engine in ('pycocotools', 'hotcoco'):
        plain, bins = seconds[engine, 'plain'], seconds[engine, 'mmhybrid, ten bins']
        row = re.search(rf'\| {engine} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|', text)
        assert row[1] == f'{plain:.1f}' and row[2] == f'{bins:.1f}'
        assert float(row[3]) == pytest.approx(bins / plain, rel=0.01)
    (large,) = (row for row in kept('occlusion_large') if row['step'].startswith('large'))
    assert f'take {large["seconds"]:.0f} s and {large["peak_gb"]:.1f} GB' in text
