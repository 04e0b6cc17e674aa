"""Scores, confusions, curves and miss rates: what their tables, records and figures say."""

import math
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from mmhybrid.errors import InputError
from mmhybrid.occlusion.results import Measure
from mmhybrid.occlusion.show.figures import miss_rate_strata, plot_miss_rate, plot_quality
from mmhybrid.occlusion.show.figures.curves import MOST, NINE
from mmhybrid.occlusion.show.markdown import to_markdown
from mmhybrid.occlusion.show.quality import confusions_sheet, scores_sheet
from mmhybrid.occlusion.show.records import quality_records
from mmhybrid.occlusion.show.report.page import render_report
from mmhybrid.occlusion.show.terminal import format_table
from mmhybrid.occlusion.strata import all_images, bins

from ..sample import result, scored
from . import pages
from .test_figures import outline, unseen_tick_labels

FEW = (all_images(), *bins((0, 0.4, 1)))
ONE, OTHER = scored(result()), scored(result('Other & <b>', shift=-0.04))
FIRST = ONE.all.quality


def test_scores():
    sheet = scores_sheet(ONE, 10)
    assert sheet.title == (
        'TiedResNet-50: bbox scores in % at IoU 0.50, by occlusion ratio r (covered, bbox)'
    )  # fmt: skip
    cells = {column.title: (column.values[0], *column.details[:1]) for column in sheet.columns}
    assert cells['best F1'] == ('54.0', '[48.6, 56.7]') and cells['at score'] == ('0.432',)
    assert cells['oLRP'] == ('55.0', '[49.5, 57.8]') and cells['ECE'][0] == '10.0' and cells['loc'][0] == '20.0'
    assert cells['precision'] == ('45.0',) and cells['FN'][0] == '45.0'
    assert sum(sheet.few) == 3 and sheet.columns[2].values[sheet.columns[0].values.index('0.9 < r <= 1 *')] == '-'
    assert sheet.title in format_table([ONE], width=120) and f'### {sheet.title}' in to_markdown([ONE, OTHER])
    assert 'scores in %' not in format_table([result()])


def test_confusions_of_classes():
    sheet = confusions_sheet(scored(result(strata=FEW)), 10)
    rows = [list(row) for row in zip(*(column.texts for column in sheet.columns), strict=True)]
    # Of ten instances of either class; the most frequent pair first, and background in none.
    assert rows == [
        ['Hund $x$', 'bicycle & <b>', '5 50%', '5 50%', '5 50%', '5 50%'],
        ['person', 'bicycle & <b>', *['2 20%'] * 4],
    ]
    assert [column.title for column in sheet.columns] == [
        'instance', 'detected as', 'all', 'r = 0', '0 < r <= 0.4', '0.4 < r <= 1',
    ]  # fmt: skip
    assert len(confusions_sheet(scored(result()), 10, top=1).columns[0].values) == 1
    right = tuple(replace(row, quality=replace(row.quality, confusion=((1, 1, 6), (None, 1, 2)))) for row in ONE.strata)
    assert confusions_sheet(replace(ONE, strata=right), 10) is None


def test_records():
    records = quality_records([ONE, result('without'), OTHER])
    assert [row['model'] for row in records] == [ONE.name] * 21 + [OTHER.name] * 21
    first = records[0]
    assert (first['stratum'], first['f1'], first['f1_low'], first['iou_thr']) == ('all', FIRST.f1, FIRST.f1 * 0.9, 0.5)
    assert first['olrp_fn_high'] == FIRST.olrp_fn * 1.05 and first['resamples'] == 200
    assert not any(isinstance(value, tuple | dict) for value in first.values())


CASES = {
    'miss rate, one model': lambda: plot_miss_rate([ONE]),
    'miss rate, two models': lambda: plot_miss_rate([ONE, OTHER]),
    'miss rate, boxes and masks, narrow': lambda: plot_miss_rate(
        [scored(result(kind, kind)) for kind in ('bbox', 'segm')], width=5
    ),
    'quality, two models': lambda: plot_quality([ONE, OTHER]),
    'curve, narrow': lambda: plot_quality([ONE], parts=['curve'], width=5),
}


@pytest.mark.parametrize('case', CASES)
def test_no_words_are_cut_or_touch(case):
    figure = CASES[case]()
    renderer, unseen = FigureCanvasAgg(figure).get_renderer(), unseen_tick_labels(figure)
    words = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]
    boxes = [(text.get_text(), outline(text, renderer)) for text in words]
    assert len(boxes) > 10
    for text, path in boxes:
        box = path.get_extents()
        assert min(box.x0, box.y0) >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.intersects_path(b, filled=True), (one, other)


def test_of_one_model_there_is_a_line_a_stratum():
    (axes,) = plot_miss_rate([ONE]).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ('log', 'log')
    names = miss_rate_strata([ONE], 10)
    rows = [next(row for row in ONE.strata if row.stratum.name == name) for name in names]
    # The extremes are among them, and none of few images.
    enough = [row for row in (ONE.all, *ONE.bins) if row.num_images >= 10]
    assert names[0] == 'all' and len(names) == MOST and min(row.num_images for row in rows) >= 10
    assert {min(enough, key=lambda row: row.mr).mr, max(enough, key=lambda row: row.mr).mr} <= {row.mr for row in rows}
    lines = axes.lines
    for line, row in zip(lines, rows, strict=True):
        fppi, miss = np.array(row.miss_curve).T
        np.testing.assert_array_equal(line.get_xdata(), fppi)
        np.testing.assert_array_equal(line.get_ydata(), miss)
        np.testing.assert_allclose(fppi[line.get_markevery()], np.geomspace(0.01, 1, 9))
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0] == 'all: 55.00 [53.0, 58.0]' and len(fppi[NINE]) == 9
    assert axes.get_legend().get_title().get_text() == 'TiedResNet-50, bbox: MR^-2 in %'


def test_of_several_models_there_is_a_panel_a_stratum():
    panels = plot_miss_rate([ONE, result('without'), OTHER]).axes
    assert len(panels) == MOST
    for axes, name in zip(panels, miss_rate_strata([ONE], 10), strict=True):
        own = [next(row for row in each.strata if row.stratum.name == name) for each in (ONE, OTHER)]
        assert [line.get_ydata()[0] for line in axes.lines] == [row.miss_curve[0][1] for row in own]
        assert axes.get_legend().get_title().get_text().startswith(name.replace('<=', '≤'))
        assert axes.get_legend().get_texts()[1].get_text().startswith(f'Other & <b>: {100 * own[1].mr:.2f} [')


def test_a_miss_rate_of_0_is_drawn_at_the_end_of_the_axis():
    rows = [replace(row, mr=0.0, miss_curve=((0.001, 0.3), (0.1, 0.0), (10, 0.0))) for row in ONE.strata[:1]]
    (axes,) = plot_miss_rate([replace(ONE, strata=tuple(rows))]).axes
    assert axes.lines[0].get_ydata().tolist() == [0.3, 0.005, 0.005] and 0 < axes.get_ylim()[0] < 0.005


def test_curves_and_reliability():
    made = scored(result(strata=FEW))
    curve, reliability = plot_quality([made]).axes
    rows = [row for row in made.strata if row.stratum.name in ('all', '0.4 < r <= 1')]
    assert len(curve.lines) == len(rows)  # the others are as all
    for line, band, row in zip(curve.lines, curve.collections, rows, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100 * np.array(row.quality.precision))
        heights = band.get_paths()[0].vertices[:, 1]
        low, high = row.quality.precision_interval
        assert (heights.min(), heights.max()) == pytest.approx((100 * low[-1], 100 * high[0]))
    diagonal, line = reliability.lines[:2]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 100]
    bins = rows[0].quality.reliability
    wanted = [math.nan if n < 500 else 100 * value for _, value, n in bins]
    high = plot_quality([made], min_images=500, parts=['reliability']).axes[0]
    np.testing.assert_allclose(high.lines[1].get_ydata(), wanted)
    assert np.isnan(wanted).any() and not np.isnan(line.get_ydata()).any()
    plain = plot_quality([scored(result(strata=FEW, full=False))]).axes[0]
    assert not plain.collections


@pytest.mark.parametrize('plot, what', [(plot_miss_rate, 'miss rates'), (plot_quality, 'quality')])
def test_nothing_to_draw(plot, what):
    with pytest.raises(InputError, match=f'no result has {what}'):
        plot([result()])


def test_the_report_has_them_and_its_scores_may_be_no_probabilities():
    odd = tuple(replace(row, quality=replace(row.quality, ece=math.nan, reliability=())) for row in ONE.strata)
    page = pages.read(render_report([replace(ONE, strata=odd)]))
    assert [node.text for node in page.all('h3')] == [
        'AP by stratum', 'Recall by the instance’s own occlusion', 'Errors by kind', 'Miss rate',
        'Curves, calibration and confusions', 'Categories',
    ]  # fmt: skip
    titles = [svg.first('title').text for svg in page.all('svg', class_='plot')]
    assert [title.partition(':')[0] for title in titles[-3:]] == ['Miss rate', 'Precision and recall', 'Calibration']
    captions = [node.text for node in page.all('caption')]
    assert any('confusions, detections of score >= 0.3' in text.replace('≥', '>=') for text in captions)
    assert not re.search(r'\b(nan|inf)\b', page.first('main').text)
    several = pages.read(render_report([ONE, OTHER]))
    titles = [svg.first('title').text for svg in several.all('svg', class_='plot')]
    assert [title.split(':')[0] for title in titles if title.startswith('Miss rate')] == [
        f'Miss rate of {name}' for name in miss_rate_strata([ONE], 10)
    ]


def test_coordinates_in_a_page_have_two_decimals():
    page = render_report([scored(result(strata=(all_images(),), full=False))])
    paths = re.findall(r' d="([^"]*)"', page)
    assert len(paths) > 10 and not any(re.search(r'\.\d{3}', path) for path in paths)


def test_a_stratum_of_a_property():
    own = replace(scored(result(strata=FEW)), measure=Measure('fog', 'user', ''))
    assert scores_sheet(own, 10).title.endswith('by fog')
