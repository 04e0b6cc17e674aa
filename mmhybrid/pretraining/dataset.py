"""A data set of pictures in folders, for MMEngine."""

import logging
from collections.abc import Sequence
from typing import Any

from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmhybrid.text import plural

from .folders import class_names, holds_pictures, part_folder, pictures


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """Pictures in folders that are named for their classes, numbered in the order of their names.

    Args:
        data_root: Folder of the data set.
        folder: Of one part of it, ``'train'``, or several names of which the first that is there is taken.
        **kwargs: Of MMEngine's ``BaseDataset``.

    Raises:
        InputError: If there are no pictures.
    """

    def __init__(self, data_root: str, folder: str | Sequence[str] = 'train', **kwargs: Any):
        self.folder = folder
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the pictures, class by class."""
        folder = part_folder(self.data_root, self.folder)
        names = class_names(folder)
        self._metainfo['classes'] = tuple(names)
        found, inner = [], []
        for label, name in enumerate(names):
            own, folders = pictures(folder, name)
            found += [dict(img_path=path, label=label) for path in own]
            inner += folders
        print_log(
            f'{folder}: {plural(len(found), "picture")} of {plural(len(names), "class", "classes")}.',
            'current',
            logging.INFO,
        )
        if inner := [path for path in inner if holds_pictures(path)]:
            print_log(
                f'Folders within those of the classes are left out: {len(inner)} that have pictures, the first is '
                f'{inner[0]}; what belongs to a class lies directly in its folder.',
                'current',
                logging.WARNING,
            )
        return found
