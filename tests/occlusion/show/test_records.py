import csv
import io
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.instance_strata import InstanceStratum
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.results import plain
from mmhybrid.occlusion.selection import Selection, Stratification
from mmhybrid.occlusion.show.markdown import to_markdown
from mmhybrid.occlusion.show.records import (
    annotation_records,
    category_records,
    difference_records,
    image_records,
    instance_records,
    strata_frame,
    strata_records,
    to_csv,
)
from mmhybrid.occlusion.strata import Measure, all_images, bins
from mmhybrid.text import is_unsafe

from .. import pedestrians
from ..sample import CATEGORIES, comparison, result
from ..synthetic import dataset

MODELS = result('a'), result('b', shift=0.02, full=False)


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline='')))


def test_strata_records_hold_what_the_result_holds():
    one = MODELS[0]
    records = strata_records([one])
    assert len(records) == len(one.strata)
    for record, row in zip(records, one.strata, strict=True):
        assert record['model'] == 'a' and record['iou_type'] == 'bbox' and record['definition'] == 'covered'
        assert (record['stratum'], record['kind']) == (row.stratum.name, row.stratum.kind)
        for key in ('num_images', 'num_instances', 'aps', 'apm', 'apl', 'ar', 'ap', 'ap50', 'ap75', 'ap_common'):
            assert record[key] == getattr(row, key) or (math.isnan(record[key]) and math.isnan(getattr(row, key)))
        if row.num_images:
            assert record['ap75_low'] == row.intervals['ap75'].low
        assert record['errors_duplicate'] == row.errors.duplicate and record['errors_missed'] == row.errors.missed
        assert (record['confidence'], record['resamples']) == (0.95, 200)


def test_columns_do_not_depend_on_what_was_asked_for():
    full, bare = strata_records(MODELS[:1]), strata_records(MODELS[1:])
    assert list(full[0]) == list(bare[0])
    assert all(math.isnan(bare[0][key]) for key in ('ap_low', 'errors_partial', 'resamples', 'num_common_categories'))


def test_category_records():
    records = category_records(MODELS)
    filled = [row for row in MODELS[0].strata if row.categories]
    assert len(records) == 3 * len(filled)
    assert [record['category'] for record in records[:3]] == [name for _, name in CATEGORIES]
    assert records[1]['ap50'] == filled[0].categories[1].ap50 and records[1]['category_id'] == 2


def test_instance_records():
    records = instance_records(MODELS)
    assert [record['range'] for record in records] == [row.name for row in MODELS[0].instances]
    assert records[2]['recall75'] == MODELS[0].instances[2].recall75
    assert records[2]['recall75_low'] == MODELS[0].instances[2].intervals['recall75'].low
    assert records[0]['fraction'] == 'covered fraction f (bbox)'


def test_difference_records():
    made = comparison(*MODELS)
    records = difference_records([made])
    assert len(records) == len(made.differences)
    assert (records[0]['baseline'], records[0]['model'], records[0]['metric']) == ('a', 'b', 'ap')
    assert (records[0]['num_images'], records[0]['num_instances']) == (5000, 35000)
    assert records[0]['difference_low'] == made.differences[0].interval.low
    assert records[0]['model_value'] - records[0]['baseline_value'] == records[0]['difference']


def test_records_of_a_data_set():
    gt = load_ground_truth(dataset(3)[0])
    ids = gt.image_ids.tolist()
    values = {image_id: index / 7 for index, image_id in enumerate(ids)}
    fractions = np.linspace(0, 1, len(gt.annotation_ids))
    made = Stratification(Measure(), values, (all_images(), *bins()), fractions, 'covered fraction f (bbox)')
    images = image_records(gt, made)
    assert [(record['image_id'], record['value']) for record in images] == list(values.items())
    for record in images:
        on = (gt.annotation_image_ids == record['image_id']) & ~gt.is_crowd
        assert record['num_instances'] == on.sum()
    annotations = annotation_records(gt, made)
    assert [record['annotation_id'] for record in annotations] == gt.annotation_ids.tolist()
    assert [record['value'] for record in annotations] == fractions.tolist()
    names = {category['id']: category['name'] for category in gt.categories}
    assert all(names[record['category_id']] == record['category'] for record in annotations)
    assert read(to_csv(annotations))[-1]['value'] == '1.0'


def test_ratios_of_images_are_called_by_their_own_measure():
    # The strata are a benchmark's, of instances; the values are ratios of the images all the same.
    gt = load_ground_truth(pedestrians.dataset(4, 'citypersons')[0], wanted=Selection('citypersons').wanted())
    by_strata, by_ratio = (image_records(gt, each.apply(gt)) for each in (Selection('citypersons'), Selection()))
    assert by_strata == by_ratio and any(record['value'] for record in by_ratio)
    assert [by_ratio[0][key] for key in ('measure', 'definition', 'geometry')] == ['r', 'covered', 'bbox']
    assert [record['file_name'] for record in by_strata] == [image['im_name'] for image in gt.images]
    parts = [InstanceStratum.parse('v < 0.5')]
    (record, *_) = image_records(gt, Selection(definition='multi', parts=parts).apply(gt))
    assert record['definition'] == 'multi'


@pytest.mark.parametrize('form', ['{:04d}', 'day/{}.png'])
def test_images_keep_the_ids_of_their_file(form):
    data = dataset(3)[0]
    plain_gt = load_ground_truth(data)
    made = Selection().apply(plain_gt)
    for row, key in [(row, 'id') for row in data['images']] + [(row, 'image_id') for row in data['annotations']]:
        row[key] = form.format(row[key])
    gt = load_ground_truth(data)
    for make in (image_records, annotation_records):
        records = read(to_csv(make(gt, Selection().apply(gt))))
        expected = read(to_csv(make(plain_gt, made)))
        assert records == [row | {'image_id': form.format(int(row['image_id']))} for row in expected]


def test_plain_has_no_nan():
    assert plain([{'a': math.nan, 'b': [math.inf, 1.5]}, 'x']) == [{'a': None, 'b': [None, 1.5]}, 'x']


def test_csv_reads_back_exactly():
    records = strata_records(MODELS)
    back = read(to_csv(records))
    assert len(back) == len(records) and list(back[0]) == list(records[0])
    for record, cells in zip(records, back, strict=True):
        for key, value in record.items():
            if isinstance(value, str):
                assert cells[key] == value
            elif math.isnan(value):
                assert cells[key] == ''
            else:
                assert float(cells[key]) == value


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=12)
    | st.sampled_from(
        ['=1+1', ' =x', '＝x', '+x', '-1', '-x', '@a', '\t=x', '\r', "'x", '"', 'a,b', 'a\r\nb', '', 'inf']
    ),
    st.floats() | st.floats(width=32).map(np.float32),
    st.integers() | st.integers(-9, 9).map(np.int64),
)
def test_csv_of_any_text_and_number(text, number, count):
    (back,) = read(to_csv([{'text': text, 'number': number, 'count': count, 'end': 'x'}]))
    cell = back['text']
    assert not any(map(is_unsafe, cell))
    if not any(map(is_unsafe, text)):
        assert (cell[1:] if cell.startswith("'") else cell) == text
    # A spreadsheet runs none of them as a formula: what still starts so is a number.
    if cell.lstrip().startswith(tuple('=+-@＝＋－＠\t\r')):
        float(cell)
    assert back['number'] == '' if math.isnan(number) else float(back['number']) == number
    assert back['count'] == str(int(count)) and back['end'] == 'x'


def test_csv_of_what_steers_a_terminal():
    text = '\x1b[2J\x9bm\n\u2028\u202e\ud800é\u200d'
    assert to_csv([{'a': text}]) == 'a\n\\x1b[2J\\x9bm\\n\\u2028\\u202e\\ud800é\u200d\n'
    assert to_csv([{'a': ['no', 'name']}]) == "a\n\"['no', 'name']\"\n"


def test_csv_of_unlike_records_and_of_none():
    assert to_csv([{'a': 1}, {'b': None, 'a': 2}]) == 'a,b\n1,\n2,\n'
    assert to_csv([]) == ''
    assert read(to_csv([{'a': math.nan}, {'a': 1.5}])) == [{'a': ''}, {'a': '1.5'}]


def test_csv_in_pandas():
    pandas = pytest.importorskip('pandas')
    records = strata_records(MODELS)
    back = pandas.read_csv(io.StringIO(to_csv(records)), float_precision='round_trip')
    pandas.testing.assert_frame_equal(back, strata_frame(MODELS), check_dtype=False)
    assert back['upper'].iloc[0] == math.inf and back['ap'].isna().sum() == 2


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pandas', None)
    with pytest.raises(ImportError, match='pip install pandas'):
        strata_frame(MODELS)


def tables(text):
    """Each table's rows as cells, split at pipes that are not escaped."""
    blocks = re.findall(r'(?:^\|.*\n?)+', text, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] for line in block.splitlines()]
        for block in blocks
    ]


def test_markdown_holds_every_table():
    text = to_markdown(MODELS, [comparison(*MODELS)], min_images=10)
    titles = [line for line in text.splitlines() if line.startswith('#')]
    found = tables(text)
    # Side by side, four metrics compared, strata of two models, and recall, errors and categories of one.
    assert len(found) == len(titles) == 1 + 4 + 2 + 3
    for table in found:
        assert len({len(row) for row in table}) == 1
        assert set(table[1]) <= {':--', '--:'}
    assert titles[0].startswith('### a: bbox AP') and titles[-1].endswith('bbox AR in %')
    (side,) = (table for table in found if table[0] == ['stratum', 'images', 'a', 'b'])
    by_name = {row[0]: row for row in side}
    assert by_name['r >= 0.5'] == ['r >= 0.5', '450', '30.0 [27.9, 31.8]', '32.0']
    assert by_name['0.9 < r <= 1 \\*'][1:] == ['0', '-', '-']
    assert '- \\* fewer than 10 images: too few to conclude from' in text


def test_markdown_escapes_names():
    name = 'a|b <script> _x_ *y* `z` $q$ [l](http://e.org) # \\ 0 < r'
    text = to_markdown([replace(MODELS[1], name=name), MODELS[0]])
    assert all(len({len(row) for row in table}) == 1 for table in tables(text))
    assert r'a\|b \<script> \_x\_ \*y\* \`z\` \$q\$ [l\](http://e.org) \# \\ 0 < r' in text
