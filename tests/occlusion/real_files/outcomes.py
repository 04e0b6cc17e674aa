"""What a command must have done with a file."""

import math
import re

import pytest

from .base import METRICS, unchanged

# What tells where numbers are from, and not what they are.
_ABOUT = ('name', 'ground_truth', 'detections', 'notes')


def assert_same(outcome, *options):
    """All numbers of all strata are, to the last bit, those of the set as it is."""
    for result, right in zip(outcome.results, unchanged(*options), strict=True):
        assert {**result, **dict.fromkeys(_ABOUT)} == {**right, **dict.fromkeys(_ABOUT)}


def assert_plain(outcome, *right):
    """The stratum of all images has the numbers of plain pycocotools, one set of them a result."""
    for result, metrics in zip(outcome.results, right, strict=True):
        stratum = result['strata'][0]
        assert stratum['name'] == 'all'
        for name in METRICS:
            got, want = (math.nan if each[name] is None else each[name] for each in (stratum, metrics))
            assert got == pytest.approx(want, rel=1e-12, nan_ok=True), name


def assert_noted(notes, *patterns):
    """Each pattern is in a note."""
    for pattern in patterns:
        assert any(re.search(pattern, note, re.IGNORECASE) for note in notes), (pattern, notes)


def assert_named(outcome, *patterns):
    """The command refused in one sentence, which says all of this."""
    sentence = outcome.error
    for pattern in patterns:
        assert re.search(pattern, sentence, re.IGNORECASE), (pattern, sentence)
