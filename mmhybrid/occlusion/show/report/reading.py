"""What the report says about itself: columns, and what must not be concluded."""

from __future__ import annotations

from collections.abc import Sequence

from ...results import Comparison, OcclusionResult
from .markup import Markup, tag
from .numbers import count


def columns(results: Sequence[OcclusionResult]) -> str:
    """The columns of the tables of strata."""
    text = (
        'AP: COCO average precision over IoU 0.50:0.95, at most 100 detections an image and category. APs, APm, APl: '
        'of instances with an area below 32², up to 96² and above. AR: average recall. inst/img: instances an image. '
        'A dash: no ground truth.'
    )
    numbers = [result.num_common_categories for result in results if result.num_common_categories is not None]
    if numbers:
        kept = 'no category' if numbers[0] == 0 else f'the {count(numbers[0])} categories'
        text += f' AP common: mean AP over {kept} with instances in every stratum of enough images.'
    return text


def advice(results: Sequence[OcclusionResult], comparisons: Sequence[Comparison], min_images: int) -> Markup:
    """What to keep in mind, as a list."""
    first = results[0]
    points = []
    if first.measure.definition != 'user':
        points += [
            (
                'Strata hold images, not instances.',
                'A much occluded image may hold instances in full view, and AP counts all of them. A false positive '
                'belongs to no instance, so by instance only recall can be given.',
            ),
            *_geometry(first),
        ]
    points += [
        (
            'A lower AP is not thereby caused by occlusion.'
            if first.measure.definition != 'user'
            else 'A lower AP is not thereby caused by the property.',
            'Strata differ in other ways: how many instances an image holds, how small they are, and which categories '
            'they belong to. Look at inst/img, at APs, APm and APl, and at AP common beside AP. Each of them controls '
            'for one such difference, none for all.',
        ),
        (
            'Few images say little.',
            f'Strata under {min_images} images are marked and kept out of the summary. Somewhat above that number '
            'intervals are wide still, and a category with a few instances weighs as much in AP as any other.',
        ),
        (
            'Bins are independent of one another, cumulative strata are not.',
            'Each cumulative stratum is part of the one before, so neighbours are alike by construction.',
        ),
        (
            'Intervals tell how far another sample of images might move a number.',
            'They know nothing of training: another run of the same model may differ by more. Whether two intervals '
            'of different models overlap is not a test of their difference; the paired differences are.',
        ),
    ]  # fmt: skip
    if comparisons:
        points.append((
            'Many comparisons find something by chance.',
            'Decide before looking which stratum and metric count, or ask for much smaller p. A difference that is '
            'not significant does not show that models are equal.',
        ))  # fmt: skip
    if any(row.errors is not None for result in results for row in result.strata):
        points.append((
            'Errors an image grow with instances an image.',
            'Compare the kinds’ shares too. They depend on the least score, and two models need not score alike.',
        ))  # fmt: skip
    return tag('ul', *(tag('li', tag('strong', head), ' ', text) for head, text in points))


def _geometry(result: OcclusionResult) -> list[tuple[str, str]]:
    if result.measure.geometry == 'bbox':
        return [(
            'Overlap of boxes is not occlusion itself.',
            'Two boxes may overlap where neither object hides the other, and an object hidden by something that is '
            'not annotated counts as uncovered. Crowd regions cover nothing here.',
        )]  # fmt: skip
    if result.measure.geometry == 'segm':
        return [(
            'Masks of visible pixels hardly overlap.',
            'Data sets such as COCO annotate only what can be seen (modal masks). There, this measure is near 0 '
            'whatever is hidden; measure boxes instead, or use amodal masks.',
        )]  # fmt: skip
    return [(
        'Amodal masks hold guesses.',
        'Hidden parts were drawn by annotators or generated; what is outside the image or hidden by things that are '
        'not annotated follows the rules of the data set.',
    )]  # fmt: skip
