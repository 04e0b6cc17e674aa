"""Pictures in folders that are named for their classes: ``ROOT/train/CLASS/PICTURE.jpg``."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmhybrid.errors import InputError

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
_LAYOUT = 'each class has a folder of its pictures, as train/cat/1.jpg'


def part_folder(root: str, parts: str | Sequence[str]) -> Path:
    """The folder of one part of a data set.

    Args:
        root: Folder of the data set.
        parts: Its name, or several of which the first that is there is taken.

    Raises:
        InputError: If none is there.
    """
    parts = [parts] if isinstance(parts, str) else list(parts)
    found = next((Path(root, part) for part in parts if Path(root, part).is_dir()), None)
    if found is None:
        raise InputError(
            f'The data set is not where the config says: there is no folder {" or ".join(parts)} in {root} (from '
            f'{Path.cwd()}); put it there or point to it with --cfg-options data_root=DIR.'
        )
    return found


def class_names(folder: Path) -> list[str]:
    """Names of the classes, sorted; hidden folders and files are none.

    Raises:
        InputError: If there are no folders of classes, or if one has no picture.
    """
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if not names:
        raise InputError(f'{folder} has no folders of classes: {_LAYOUT}.')
    for name in names:
        if next(_pictures(folder / name), None) is None:
            raise InputError(
                f'{folder / name} has no pictures ({" ".join(IMAGES)}): {_LAYOUT}; fill that folder or remove it.'
            )
    return names


def pictures(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """Paths of a class's pictures, and those of folders within the class's, which nobody looks into; both sorted."""
    found: tuple[list[str], list[str]] = ([], [])
    for entry in _entries(folder / name):
        if _is_picture(entry):
            found[0].append(entry.path)
        elif entry.is_dir():
            found[1].append(entry.path)
    return sorted(found[0]), sorted(found[1])


def holds_pictures(folder: str) -> bool:
    """Whether there are pictures in a folder, at any depth."""
    names = (name for _, _, names in os.walk(folder) for name in names)
    return any(name.lower().endswith(IMAGES) and not name.startswith('.') for name in names)


def _pictures(folder: Path) -> Iterator[str]:
    return (entry.name for entry in _entries(folder) if _is_picture(entry))


def _is_picture(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(IMAGES) and entry.is_file()


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith('.'))
    except OSError as error:
        raise InputError(f'The folder {folder} cannot be read ({error.strerror or error}); mend that.') from error


def check_classes(train: Sequence[str], val: Sequence[str], num_classes: int) -> None:
    """Compare the classes of both parts with each other and with the classifier.

    Raises:
        InputError: If they differ.
    """
    for there, here, first, second in ((train, val, 'train', 'val'), (val, train, 'val', 'train')):
        if missing := sorted(set(there) - set(here)):
            more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
            raise InputError(
                f'The class {missing[0]!r}{more} is in the pictures of {first} and not in those of {second}: both '
                'must have the same folders.'
            )
    if len(train) == 1:
        raise InputError(
            f'The pictures have one class, {train[0]!r}, and a classifier needs at least two: give the other classes '
            'folders of their own.'
        )
    if len(train) != num_classes:
        raise InputError(
            f'The pictures have {len(train)} classes ({", ".join(train[:3])}{", ..." if len(train) > 3 else ""}) and '
            f'the classifier has {num_classes}: add --cfg-options num_classes={len(train)}.'
        )


def check_batch(pictures: int, batch_size: int | None, processes: int = 1) -> None:
    """Check that the pictures to train with fill a batch, of which one that is not full is left out.

    Raises:
        InputError: If they do not.
    """
    share = -(-pictures // processes)
    if share < (batch_size or 1):
        of_each = f' in each of {processes} processes, {share}' if processes > 1 else ''
        raise InputError(
            f'There are {pictures} pictures to train with{of_each}, which fill no batch of {batch_size}: add '
            f'--cfg-options train_dataloader.batch_size={max(share // 2, 1)}, or more pictures.'
        )
