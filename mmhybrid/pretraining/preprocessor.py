"""From a batch of bytes to what a classifier takes."""

from typing import Any

from mmdet.registry import MODELS
from mmengine.model import ImgDataPreprocessor


@MODELS.register_module()
class ClassificationPreprocessor(ImgDataPreprocessor):
    """MMEngine's ``ImgDataPreprocessor`` for batches of equally large pictures with one label each.

    The samples stay as they are, on the CPU: they only name the pictures, and to move each of them takes as long as a
    small network's step.
    """

    def cast_data(self, data: Any) -> Any:
        """Move the pictures and labels of a batch to the device."""
        if not isinstance(data, dict):
            return super().cast_data(data)
        samples = data.get('data_samples')
        moved = {
            key: super(ClassificationPreprocessor, self).cast_data(data[key]) for key in data.keys() - {'data_samples'}
        }
        return {**moved, 'data_samples': samples}
