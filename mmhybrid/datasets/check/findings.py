"""The kinds of fault that a data set can have, and what MMDetection does with each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

EXAMPLES = 5
ERROR, WARNING = 'error', 'warning'


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        severity: ``'error'`` if training dies or learns something wrong, else ``'warning'``.
        title: What was counted, in the plural.
        effect: What MMDetection does with it.
    """

    severity: str
    title: str
    effect: str


KINDS = {
    # The annotation file's records
    'image-record': Kind(ERROR, 'image records that cannot be used', 'dies when the file is read'),
    'category-record': Kind(ERROR, 'category records that cannot be used', 'dies when the file is read'),
    'annotation-record': Kind(ERROR, 'annotation records that cannot be used', 'dies when the file is read'),
    'duplicate-image-id': Kind(
        ERROR, 'images with the id of another', 'keeps the last of them and gives it the annotations of all'
    ),
    'duplicate-category-id': Kind(ERROR, 'categories with the id of another', 'shifts the labels of those after them'),
    'duplicate-annotation-id': Kind(ERROR, 'annotations with the id of another', 'dies when the file is read'),
    'duplicate-category-name': Kind(
        ERROR, 'categories with the name of another', 'gives labels beyond the last class and dies'
    ),
    'unknown-category': Kind(ERROR, 'annotations of a category that the file does not list', 'drops them'),
    'no-instances': Kind(ERROR, 'data sets without an instance to learn from', 'trains on background alone'),
    'unlisted-image': Kind(
        WARNING, 'annotations of an image that the file does not list', "drops them; this package's evaluation refuses"
    ),
    'duplicate-file-name': Kind(
        WARNING, 'images with the file name of another', 'sees the image each time with a part of its instances'
    ),
    'duplicate-annotation': Kind(
        WARNING, 'annotations that repeat another but for the id', 'learns and counts the instance twice'
    ),
    'image-empty': Kind(
        WARNING,
        'images without an instance to learn from',
        'leaves out those without annotations (filter_empty_gt) and trains the others as background',
    ),
    # Boxes
    'box-not-finite': Kind(ERROR, 'boxes or areas that are not finite', 'drops NaN, and infinity makes the loss NaN'),
    'box-degenerate': Kind(WARNING, 'boxes with a width or height below 1', 'drops them'),
    'box-outside': Kind(WARNING, 'boxes that do not touch their image', 'drops them'),
    'box-partly-outside': Kind(
        WARNING, 'boxes that leave their image by more than a pixel', 'clips them where the pipeline resizes'
    ),
    'area-not-positive': Kind(WARNING, 'annotations whose area is not above 0', 'drops them'),
    # Masks
    'mask-missing': Kind(
        WARNING, 'annotations without a segmentation', 'dies at the first of them where masks are loaded'
    ),
    'mask-malformed': Kind(
        ERROR, 'segmentations that are neither polygons nor run lengths', 'dies or reads beyond the end, in C code'
    ),
    'mask-size': Kind(ERROR, 'run lengths of another size than their image', 'dies when the image is loaded'),
    'mask-few-points': Kind(
        WARNING, 'segmentations with a polygon of less than three points', 'drops the polygon, or ignores the instance'
    ),
    'mask-empty': Kind(WARNING, 'masks without a pixel', 'trains the mask head on an empty mask'),
    'mask-outside': Kind(
        WARNING, 'polygons that leave their image by more than a pixel', 'cuts them off at the edge'
    ),
    # Categories against the config's classes
    'classes-malformed': Kind(
        ERROR, "settings of 'classes' that are no list of different names", 'mistakes letters for classes, or labels'
    ),
    'class-missing': Kind(
        ERROR, 'classes of the config that the file does not list', 'never trains them and shifts the labels after them'
    ),
    'category-order': Kind(
        ERROR,
        'categories in another place than in the classes',
        "numbers labels in the file's order, so it takes one class for another",
    ),
    'category-unused': Kind(WARNING, 'categories of the file that the config does not list', 'drops their instances'),
    'class-empty': Kind(WARNING, 'classes without an instance to learn from', 'never trains them'),
    # The config around them
    'head-classes': Kind(
        ERROR, 'heads for another number of classes than the data', 'dies, or trains outputs that nothing is for'
    ),
    'masks-not-loaded': Kind(ERROR, 'mask heads whose pipeline loads no masks', 'dies at the first iteration'),
    'classes-differ': Kind(
        ERROR, "data sets with other classes than the config's first", 'takes one label for two classes'
    ),
    # Image files
    'file-missing': Kind(ERROR, 'image files that are not there', 'dies when it comes to one'),
    'file-broken': Kind(
        ERROR, 'image files that cannot be decoded to the end', 'dies, or trains on an image that is half grey'
    ),
    'file-size': Kind(ERROR, 'images of another size than annotated', 'puts boxes and masks at wrong places'),
    'file-orientation': Kind(
        ERROR, 'images annotated as stored, but turned by their EXIF orientation', 'turns the image, not its boxes'
    ),
    'file-turned': Kind(
        WARNING, 'images turned or mirrored by their EXIF orientation', 'turns them, so annotate them as they are seen'
    ),
    'file-mode': Kind(
        WARNING, 'images that are not 8-bit colour', 'makes three channels of 8 bits, without transparency'
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What was found of one kind.

    Attributes:
        kind: A key of :data:`KINDS`.
        count: How many.
        examples: The first five.
        severity: ``'error'`` or ``'warning'``.
        hint: What may be behind it, or ''.
    """

    kind: str
    count: int
    examples: tuple[str, ...]
    severity: str
    hint: str = ''

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return {**vars(self), 'examples': list(self.examples), 'effect': KINDS[self.kind].effect}

    @property
    def sentence(self) -> str:
        """Kind, count, examples and effect, without a full stop."""
        kind = KINDS[self.kind]
        shown = '; '.join(self.examples[:3]) + ('; ...' if self.count > 3 else '')
        hint = f'; {self.hint}' if self.hint else ''
        return f'{kind.title}: {self.count:,} ({shown}); MMDetection {kind.effect}{hint}'


def found(
    kind: str, examples: Iterable[str], count: int | None = None, severity: str | None = None, hint: str = ''
) -> list[Finding]:
    """The finding of one kind, or none where there is nothing.

    Args:
        kind: A key of :data:`KINDS`.
        examples: One text each; at most five are taken where ``count`` is given, else all are counted.
        count: How many there are.
        severity: Instead of the kind's own.
        hint: What may be behind it.
    """
    if count is None:
        examples = list(examples)
        count = len(examples)
    if not count:
        return []
    return [Finding(kind, count, tuple(islice(examples, EXAMPLES)), severity or KINDS[kind].severity, hint)]
