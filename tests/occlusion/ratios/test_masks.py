import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.occlusion.ratios import masks as rle
from mmhybrid.occlusion.read.polygons import rasterise
from mmhybrid.occlusion.read.runlengths import intervals

KINDS = ('random', 'empty', 'full', 'first', 'last', 'blob', 'grid')


def layer(rng, kind, height, width):
    """A mask ``(height, width)`` bool; ``first`` and ``full`` begin with a run of no background pixels."""
    pixels = np.zeros((height, width), dtype=bool)
    if kind == 'random':
        pixels = rng.random((height, width)) < rng.random()
    elif kind == 'full':
        pixels[:] = True
    elif kind == 'first':
        pixels[0, 0] = True
    elif kind == 'last':
        pixels[-1, -1] = True
    elif kind == 'blob':
        y, x = rng.integers(0, height), rng.integers(0, width)
        pixels[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
    elif kind == 'grid':
        pixels[:: rng.integers(1, 4), :: rng.integers(1, 4)] = True
    return pixels


@st.composite
def data_sets(draw):
    """Images of different sizes as lists of ``(n, height, width)`` bool, some without masks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    images = []
    for _ in range(draw(st.integers(1, 5))):
        height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        kinds = draw(st.lists(st.sampled_from(KINDS), max_size=6))
        images.append(
            np.array([layer(rng, kind, height, width) for kind in kinds], dtype=bool).reshape(-1, height, width)
        )
    return images


def encode(images):
    """Masks, sizes and counts as the functions take them."""
    masks = [mask.encode(np.asfortranarray(pixels, dtype=np.uint8)) for image in images for pixels in image]
    sizes = [image.shape[1:] for image in images for _ in image]
    return masks, np.array(sizes, dtype=np.int64).reshape(-1, 2), np.array([len(image) for image in images])


def share(part, total):
    return part / total if total else 0


def dense(definition, image):
    """The ratio of one image by its definition, on dense masks."""
    depth = image.sum(axis=0)
    if definition == 'covered':
        return share((image & (depth > 1)).sum(), image.sum())
    if definition == 'multi':
        return share((depth > 1).sum(), (depth > 0).sum())
    pairs = [(a & b, a | b) for i, a in enumerate(image) for b in image[:i]]
    if definition == 'pairwise':
        return share(sum(both.sum() for both, _ in pairs), image.sum())
    return max((share(both.sum(), any_.sum()) for both, any_ in pairs), default=0)


@settings(deadline=None)
@given(data_sets())
def test_runs_fill_the_masks(images):
    masks, sizes, _ = encode(images)
    start, stop, owner = intervals([each['counts'] for each in masks])
    assert (start < stop).all()
    decoded = [np.zeros(h * w, dtype=int) for h, w in sizes]
    for a, b, i in zip(start, stop, owner, strict=True):
        decoded[i][a:b] += 1
    for flat, each in zip(decoded, masks, strict=True):
        assert (flat == mask.decode(each).ravel(order='F')).all()


@pytest.mark.parametrize(
    'counts',
    [
        [0, 40000],
        [40000],
        [0, 1, 39999],
        [39999, 1],
        [3, 0, 2, 0, 39990, 5],
        [1, 20000, 1, 2, 19990, 6],
        [0, 0, 0, 40000],
    ],
    ids=str,
)
def test_runs_of_uncompressed_counts(counts):
    encoded = mask.frPyObjects({'size': [200, 200], 'counts': counts}, 200, 200)
    start, stop, owner = intervals([encoded['counts']])
    ends = np.cumsum(counts)
    filled = [(end - count, end) for end, count in zip(ends[1::2], counts[1::2], strict=True) if count]
    assert list(zip(start, stop, strict=True)) == filled and not owner.any()


@pytest.mark.parametrize('height', [65535, 40000, 2**10])
def test_runs_of_the_largest_images(height):
    counts = [height * 7, height * 60000, 1, height * 5000, 2, 3]
    counts.append(height * 65535 - sum(counts))
    encoded = mask.frPyObjects({'size': [height, 65535], 'counts': counts}, height, 65535)
    start, stop, _ = intervals([encoded['counts']])
    assert (stop - start).tolist() == counts[1::2] and stop[-1] + counts[-1] == height * 65535


@settings(deadline=None)
@given(data_sets())
def test_equals_counting_pixels(images):
    masks, sizes, counts = encode(images)
    found = rle.overlaps(masks, sizes, counts)
    depths = [image.sum(axis=0) for image in images]
    covered = [(pixels & (d > 1)).sum() for image, d in zip(images, depths, strict=True) for pixels in image]
    assert found.covered.tolist() == covered
    assert found.areas.tolist() == [pixels.sum() for image in images for pixels in image]
    assert found.shared.tolist() == [(depth > 1).sum() for depth in depths]
    assert found.union.tolist() == [(depth > 0).sum() for depth in depths]
    assert found.pairs.tolist() == [(depth * (depth - 1) // 2).sum() for depth in depths]


@pytest.mark.parametrize('definition', ['covered', 'multi', 'pairwise', 'max-iou'])
@settings(deadline=None, max_examples=50)
@given(images=data_sets(), random=st.randoms(use_true_random=False))
def test_ratios_by_definition(definition, images, random):
    ratios, fractions = rle.measure(*encode(images), definition)
    assert ratios == pytest.approx([dense(definition, image) for image in images], abs=1e-15)
    own = [share((p & (i.sum(axis=0) > 1)).sum(), p.sum()) for i in images for p in i]
    assert fractions == pytest.approx(own, abs=1e-15)
    shuffled = [image[random.sample(range(len(image)), len(image))] for image in images]
    assert (rle.measure(*encode(shuffled), definition)[0] == ratios).all()


@pytest.mark.parametrize('definition', ['covered', 'multi', 'pairwise', 'max-iou'])
@settings(deadline=None, max_examples=40)
@given(images=data_sets(), factor=st.integers(1, 3), margins=st.tuples(*[st.integers(0, 9)] * 4))
def test_range_scaling_and_translation(definition, images, factor, margins):
    ratios, fractions = rle.measure(*encode(images), definition)
    top = np.array([max((len(image) - 1) / 2, 0) if definition == 'pairwise' else 1 for image in images])
    assert ((ratios >= 0) & (ratios <= top)).all() and ((fractions >= 0) & (fractions <= 1)).all()
    up, down, left, right = margins
    moved = [
        np.pad(image.repeat(factor, axis=1).repeat(factor, axis=2), ((0, 0), (up, down), (left, right)))
        for image in images
    ]
    found = rle.measure(*encode(moved), definition)
    assert (found[0] == ratios).all() and (found[1] == fractions).all()


@settings(deadline=None, max_examples=40)
@given(data_sets())
def test_a_disjoint_instance_dilutes(images):
    original = rle.overlaps(*encode(images))
    # A further row of pixels, which the new instance has to itself.
    joined = []
    for image in images:
        n, height, width = image.shape
        grown = np.zeros((n + 1, height + 1, width), dtype=bool)
        grown[:n, :height], grown[n, height] = image, True
        joined.append(grown)
    found = rle.overlaps(*encode(joined))
    old = np.concatenate([np.arange(len(image) + 1) < len(image) for image in images])
    assert (found.covered[old] == original.covered).all() and not found.covered[~old].any()
    assert (found.shared == original.shared).all() and (found.pairs == original.pairs).all()
    assert (found.union == original.union + [image.shape[2] for image in images]).all()


@settings(deadline=None)
@given(data_sets(), st.integers(0, 2**32))
def test_invisible_by_definition(images, seed):
    rng = np.random.default_rng(seed)
    # Visible masks that also leave the amodal ones: what lies outside is no part of the instance.
    visible = [image & (rng.random(image.shape) < 0.7) | (rng.random(image.shape) < 0.1) for image in images]
    amodal, sizes, counts = encode(images)
    ratios, fractions = rle.invisible(amodal, encode(visible)[0], sizes, counts)
    hidden = [[(a & ~v).sum() for a, v in zip(*pair, strict=True)] for pair in zip(images, visible, strict=True)]
    areas = [[a.sum() for a in image] for image in images]
    assert ratios == pytest.approx([share(sum(h), sum(a)) for h, a in zip(hidden, areas, strict=True)], abs=1e-15)
    own = [share(h, a) for both in zip(hidden, areas, strict=True) for h, a in zip(*both, strict=True)]
    assert fractions == pytest.approx(own, abs=1e-15)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 40))
def test_chunks_change_nothing(counts, chunk):
    rng = np.random.default_rng(0)
    images = [rng.random((n, 5, 7)) < 0.4 for n in counts]
    at_once = rle.overlaps(*encode(images))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle, 'CHUNK', chunk)
        in_parts = rle.overlaps(*encode(images))
    for field in ('areas', 'covered', 'shared', 'union', 'pairs'):
        assert (getattr(at_once, field) == getattr(in_parts, field)).all()


def test_many_images_exceed_a_chunk():
    rng = np.random.default_rng(1)
    images = [rng.random((rng.integers(0, 6), *rng.integers(1, 9, 2))) < 0.5 for _ in range(600)]
    assert sum(map(len, images)) > 2 * rle.CHUNK
    ratios, _ = rle.measure(*encode(images), 'covered')
    assert ratios == pytest.approx([dense('covered', image) for image in images], abs=1e-15)


def test_no_masks_at_all():
    ratios, fractions = rle.measure([], np.zeros((0, 2), dtype=np.int64), np.array([0, 0]), 'pairwise')
    assert ratios.tolist() == [0, 0] and fractions.shape == (0,)
    ratios, fractions = rle.invisible([], [], np.zeros((0, 2), dtype=np.int64), np.array([0]))
    assert ratios.tolist() == [0] and fractions.shape == (0,)


def test_rasterise_unites_polygons_and_keeps_encodings():
    square, next_to_it = [0, 0, 6, 0, 6, 6, 0, 6], [4, 4, 10, 4, 10, 10, 4, 10]
    encoded = mask.encode(np.asfortranarray(np.eye(9, 12, dtype=np.uint8)))
    masks = rasterise([[square], [square, next_to_it], encoded], np.array([[20, 30], [20, 30], [9, 12]]))
    one, two, kept = (mask.decode(each) for each in masks)
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[:6, :6] = 1
    assert (one == expected).all()
    expected[4:10, 4:10] = 1  # 36 + 36 - 4: the polygons' common part counts once
    assert (two == expected).all() and mask.area(masks[1]) == 68
    assert kept.shape == (9, 12) and (kept == np.eye(9, 12)).all()
