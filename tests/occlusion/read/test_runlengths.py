"""Run-length encodings against pycocotools and against decoding character by character."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.occlusion.read import runlengths as counts
from mmhybrid.occlusion.read.runlengths import Masks, measure


def valid(texts, areas):
    offsets = np.cumsum([0, *map(len, texts)])
    return (measure(b''.join(texts), offsets, np.array(areas))[0] >= 0).tolist()


def decodes(text, area):
    """Number by number, what measure does for many at once."""
    runs, codes = [], [code - 48 for code in text]
    while codes:
        value, shift = 0, 0
        while True:
            if not codes or not 0 <= codes[0] < 64 or shift == 35:
                return False
            code = codes.pop(0)
            value |= (code & 31) << shift
            shift += 5
            if not code & 32:
                break
        value -= (1 << shift) if code & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return min(runs) >= 0 and sum(runs) == area


def encode(runs):
    """Run lengths as compressed text, in as many digits as each needs."""
    text = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            low, value = value & 31, value >> 5
            more = value != (-1 if low & 16 else 0)
            text.append(48 + low + 32 * more)
    return bytes(text)


@st.composite
def masks(draw):
    """``(text, height, width)`` of a random mask, as pycocotools encodes it."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = rng.random((height, width)) < draw(st.sampled_from([0, 0.02, 0.3, 1]))
    return mask.encode(np.asfortranarray(pixels, dtype=np.uint8))['counts'], height, width


@settings(deadline=None)
@given(st.lists(masks(), min_size=1, max_size=6))
def test_encodings_of_real_masks_are_valid(encoded):
    texts, areas = [text for text, _, _ in encoded], [height * width for _, height, width in encoded]
    assert all(valid(texts, areas))
    assert not any(valid(texts, [area + 1 for area in areas]))
    found, margins = measure(b''.join(texts), np.cumsum([0, *map(len, texts)]), np.array(areas))
    rles = [{'size': [height, width], 'counts': text} for text, height, width in encoded]
    assert found.tolist() == mask.area(rles).tolist()
    for rle, (before, after) in zip(rles, margins.tolist(), strict=True):
        inside = np.flatnonzero(mask.decode(rle).ravel(order='F'))
        if len(inside):
            assert (before, np.prod(rle['size']) - after) == (inside[0], inside[-1] + 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**31)), min_size=1, max_size=7), min_size=1))
def test_pixels_of_runs_of_any_length(runs):
    """Numbers of up to seven digits, masks of one run, and sums beyond 32 bits within and between masks."""
    runs = [row for row in runs if sum(row) < 2**32] or [[3]]
    texts = [encode(row) for row in runs]
    found, margins = measure(b''.join(texts), np.cumsum([0, *map(len, texts)]), np.array([sum(row) for row in runs]))
    assert found.tolist() == [sum(row[1::2]) for row in runs]
    assert margins.tolist() == [[row[0], row[-1] if len(row) % 2 else 0] for row in runs]


@settings(deadline=None, max_examples=120)
@given(st.lists(st.lists(st.integers(46, 113), min_size=1, max_size=9).map(bytes), min_size=1, max_size=30), st.data())
def test_any_text_as_slow_decoding(texts, data):
    areas = [data.draw(st.integers(0, 9)) for _ in texts]
    assert valid(texts, areas) == [decodes(text, area) for text, area in zip(texts, areas, strict=True)]


@settings(deadline=None, max_examples=150)
@given(st.lists(masks(), min_size=2, max_size=5), st.data())
def test_damaged_masks_as_slow_decoding(encoded, data):
    texts = [bytearray(text) for text, _, _ in encoded]
    for _ in range(data.draw(st.integers(1, 3))):
        text = data.draw(st.sampled_from(texts))
        at = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.sampled_from(['flip', 'delete', 'insert', 'end']))
        if kind == 'flip':
            text[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == 'delete' and len(text) > 1:
            del text[at]
        elif kind == 'insert':
            text.insert(at, data.draw(st.integers(40, 120)))
        else:
            del text[at + 1 :]
    texts = [bytes(text) for text in texts]
    areas = [height * width for _, height, width in encoded]
    assert valid(texts, areas) == [decodes(text, area) for text, area in zip(texts, areas, strict=True)]


@settings(deadline=None, max_examples=120)
@given(st.lists(st.lists(st.one_of(st.integers(0, 70), st.integers(0, 2**32)), min_size=1, max_size=9), min_size=1))
def test_large_runs_as_slow_decoding(runs):
    """Sums and numbers beyond 32 bits; right is what fills an image of at most 65,535 pixels a side."""
    texts = [encode(row) for row in runs]
    areas = [min(sum(row), 65535**2) for row in runs]
    assert valid(texts, areas) == [decodes(text, area) for text, area in zip(texts, areas, strict=True)]
    assert valid(texts, areas) == [sum(row) == area for row, area in zip(runs, areas, strict=True)]


@pytest.mark.parametrize('area', [7, 2**20, 2**29, 2**31 - 1, 2**31, 65535**2])
@pytest.mark.parametrize('modulus', [2**32, 2**33, 2**34])
def test_runs_that_fill_the_image_only_after_an_overflow(area, modulus):
    pieces = -(-modulus // area)  # runs that are each as large as the image, and in sum as large only modulo 2**32
    if pieces <= 5000:
        text = encode([area] * pieces + [area + modulus - pieces * area])
        assert not decodes(text, area)
        assert valid([text, encode([area])], [area, area]) == [False, True]
    negative = encode([area, modulus - 1, 1])
    assert valid([negative, encode([0, area])], [area, area]) == [decodes(negative, area), True]


def test_more_than_a_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    texts, areas = [], []
    for number in range(300):
        pixels = rng.random((20 + number % 7, 30)) < 0.4
        texts.append(mask.encode(np.asfortranarray(pixels, dtype=np.uint8))['counts'])
        areas.append(pixels.size)
    for index in (0, 77, 299):
        texts[index] = texts[index][:-1] + b'o'
    expected = [decodes(text, area) for text, area in zip(texts, areas, strict=True)]
    assert expected.count(False) == 3
    for chunk in (1, 500, 5000, counts.CHUNK):
        monkeypatch.setattr(counts, 'CHUNK', chunk)
        assert valid(texts, areas) == expected


def test_masks_come_back_from_the_buffer():
    pixels = [np.asfortranarray(np.eye(n, n + 1, dtype=np.uint8)) for n in range(1, 9)]
    rles = [mask.encode(each) for each in pixels]
    texts = [rle['counts'] for rle in rles]
    sizes = np.array([rle['size'] for rle in rles], dtype=np.int32)
    text, offsets = bytearray(b''.join(texts)), np.cumsum([0, *map(len, texts)])
    packed = Masks(sizes, text, offsets, *measure(text, offsets, sizes.prod(axis=1)))
    assert len(packed) == 8
    assert packed.take() == rles
    assert packed.take(slice(3, 5)) == rles[3:5]
    assert packed.take(slice(4, 4)) == []
    assert packed.take(np.array([6, 0, 6])) == [rles[6], rles[0], rles[6]]
    assert all((mask.decode(rle) == each).all() for rle, each in zip(packed.take(), pixels, strict=True))


def test_the_columns_that_a_mask_reaches():
    pixels = np.zeros((3, 5), dtype=np.uint8)
    pixels[2, 1] = pixels[0, 3] = 1
    whole, none = np.ones_like(pixels), np.zeros_like(pixels)
    texts = [mask.encode(np.asfortranarray(each))['counts'] for each in (pixels, whole, none)]
    texts.append(encode([0, 0, 7, 1, 7]))  # runs of no pixels: the first pixel is the eighth
    text, offsets = b''.join(texts), np.cumsum([0, *map(len, texts)])
    packed = Masks(np.tile([3, 5], (4, 1)), text, offsets, *measure(text, offsets, np.full(4, 15)))
    assert packed.spans(np.arange(4)).tolist() == [[1, 4], [0, 5], [5, 0], [0, 3]]
    assert packed.spans(np.array([1, 0])).tolist() == [[0, 5], [1, 4]]
