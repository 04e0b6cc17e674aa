"""Which instances MMDetection's ``CocoDataset`` leaves out without a word, and why.

The rules are those of ``CocoDataset.parse_data_info``, in its order, on columns; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .contents import Contents

REASONS = {
    'unlisted image': "its image is not among the file's images",
    'ignore': "its field 'ignore' is set",
    'outside': 'its box does not touch the image',
    'degenerate': 'area <= 0, width < 1 or height < 1',
    'category': 'its category is none of the classes',
}


def overlaps(contents: Contents) -> np.ndarray:
    """``(n,)`` float64 area in pixels of each box within its image; NaN where the image is not listed."""
    x, y, width, height = contents.boxes.T
    sizes = np.full((len(contents.rows), 2), np.nan)
    listed = contents.image_at >= 0
    sizes[listed] = contents.sizes[contents.image_at[listed]]
    with np.errstate(invalid='ignore', over='ignore'):
        # As Python's max(0, NaN), the larger of 0 and NaN is 0 here.
        inner_width = np.fmax(0, np.minimum(x + width, sizes[:, 0]) - np.maximum(x, 0))
        inner_height = np.fmax(0, np.minimum(y + height, sizes[:, 1]) - np.maximum(y, 0))
        return np.where(listed, inner_width * inner_height, np.nan)


def dropped(contents: Contents, classes: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The annotations that are left out.

    Args:
        contents: The annotation file, n annotations.
        classes: Names of the classes trained on; by default all categories of the file.

    Returns:
        For each of :data:`REASONS` ``(n,)`` bool; no annotation has two, the first counts.
    """
    names = contents.category_names
    chosen = set(names if classes is None else classes)
    wanted = np.array([name in chosen for name in names] + [False], dtype=bool)
    with np.errstate(invalid='ignore'):
        each = {
            'unlisted image': contents.image_at < 0,
            'ignore': contents.ignored,
            'outside': overlaps(contents) == 0,
            'degenerate': (contents.areas <= 0) | (contents.boxes[:, 2:] < 1).any(axis=1),
            'category': ~wanted[contents.category_at],  # -1 is the last: no category
        }
    before = np.zeros(len(contents.rows), dtype=bool)
    for reason, bad in each.items():
        each[reason] = bad & ~before
        before |= bad
    return each
