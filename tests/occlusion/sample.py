"""Results made by hand, with everything a result can hold: for tests of tables, figures and the report."""

import math
from dataclasses import replace

from mmhybrid.occlusion.analysis.miss_rate import CURVE
from mmhybrid.occlusion.results import (
    Bootstrap,
    CategoryResult,
    Comparison,
    Difference,
    Errors,
    InstanceRecall,
    Interval,
    Measure,
    OcclusionResult,
    Quality,
    StratumResult,
)
from mmhybrid.occlusion.strata import bins, tbc

CATEGORIES = ((1, 'person'), (2, 'bicycle & <b>'), (3, 'Hund $x$'))


def result(name='TiedResNet-50', iou_type='bbox', full=True, shift=0.0, strata=None):
    """AP falls with r; the bin r > 0.9 is empty, the one before has few images."""
    boot = Bootstrap(200, 0) if full else None
    rows = [_stratum(stratum, shift, full) for stratum in (tbc() if strata is None else strata)]
    recall = [_recall(part.name, part.lower, part.upper, shift) for part in bins((0, 0.2, 0.4, 0.6, 0.8, 1), 'f')]
    return OcclusionResult(
        name=name,
        iou_type=iou_type,
        measure=Measure(),
        engine='pycocotools',
        ground_truth='instances_val2017.json',
        detections=f'{name}.{iou_type}.json',
        strata=tuple(rows),
        instances=tuple(recall) if full else (),
        fraction='covered fraction f (bbox)' if full else '',
        num_common_categories=2 if full else None,
        bootstrap=boot,
    )


def scored(made):
    """A result with quality and miss rates on each of its strata, by their AP."""
    return replace(
        made,
        strata=tuple(_scored(row, made.bootstrap is not None) for row in made.strata),
        category_names=CATEGORIES,
    )


def _scored(row, sampled):
    ap, mr = row.ap, 1 - row.ap
    precision = tuple(min(1, ap * 3 * (1 - i / 101)) for i in range(101))
    parts = {'f1': ap * 1.2, 'ece': 0.1, 'olrp': mr, 'olrp_loc': 0.2, 'olrp_fp': 0.3, 'olrp_fn': ap}
    bounds = {'low': 0.9, 'high': 1.05}
    intervals = {key: Interval(*(value * factor for factor in bounds.values())) for key, value in parts.items()}
    quality = Quality(
        iou_thr=0.5, precision=precision, f1_score=0.4321, f1_precision=ap, f1_recall=ap * 1.5,
        reliability=tuple((i / 20, ap * i / 20, row.num_images // (i + 1)) for i in range(1, 21)),
        olrp_scores=((1, 0.5),), min_score=0.3,
        confusion=((1, 1, 6), (1, 2, 2), (1, None, 2), (3, 2, 5), (3, 3, 5), (None, 1, 99)) if row.num_images else (),
        intervals=intervals if sampled else {},
        precision_interval=tuple(tuple(factor * value for value in precision) for factor in bounds.values())
        if sampled else (), **parts,
    )  # fmt: skip
    curve = tuple((float(fppi), min(1.0, mr * fppi**-0.2)) for fppi in CURVE) if row.num_images else ()
    mine = {'mr': Interval(mr - 0.02, mr + 0.03)} if sampled else {}
    return replace(row, quality=quality, mr=mr, miss_curve=curve, intervals=row.intervals | mine)


def comparison(baseline, model, metric_names=('ap', 'ap50', 'ap75', 'ar')):
    """Paired differences of two results."""
    rows = []
    for a, b in zip(baseline.strata, model.strata, strict=True):
        for metric in metric_names:
            gap = getattr(b, metric) - getattr(a, metric)
            interval = Interval(gap - 0.01, gap + 0.012)
            p = math.nan if math.isnan(gap) else 0.04
            values = getattr(a, metric), getattr(b, metric), gap, interval, p
            rows.append(Difference(a.stratum, a.num_images, a.num_instances, metric, *values))
    return Comparison(baseline.name, model.name, baseline.iou_type, Bootstrap(200, 0), tuple(rows))


def _stratum(stratum, shift, full):
    at = stratum.lower if math.isfinite(stratum.lower) else 0.0
    empty = stratum.kind == 'bin' and stratum.lower >= 0.9
    images = 0 if empty else 5000 if stratum.kind == 'all' else 4 if at >= 0.8 else round(900 * (1 - at))
    ap = math.nan if empty else 0.45 - 0.3 * at + shift
    numbers = {'ap': ap, 'ap50': ap * 1.4, 'ap75': ap * 0.9, 'ar': ap * 1.2}
    return StratumResult(
        stratum=stratum,
        num_images=images,
        num_instances=7 * images,
        num_categories=0 if empty else 3,
        instances_per_image=math.nan if empty else 7.0,
        aps=ap * 0.5,
        apm=ap,
        apl=ap * 1.3,
        **numbers,
        ap_common=ap * 0.97 if full else math.nan,
        intervals={key: Interval(value * 0.93, value * 1.06) for key, value in numbers.items()} if full else {},
        errors=Errors(0.5, 0.05, 5 * images, round(images * at), images, images // 2, 3 * images, 2 * images)
        if full
        else None,
        categories=tuple(
            CategoryResult(i, label, images // i, 2 * images // i, ap / i, ap / i * 1.4, ap / i * 0.9, ap)
            for i, label in CATEGORIES
        )
        if full and not empty
        else (),
    )


def _recall(name, lower, upper, shift):
    value = 0.8 - 0.5 * lower + shift
    parts = {'recall50': value, 'recall75': value * 0.8, 'recall': value * 0.7}
    intervals = {key: Interval(part - 0.02, part + 0.02) for key, part in parts.items()}
    return InstanceRecall(name, lower, upper, 1200, **parts, intervals=intervals)
