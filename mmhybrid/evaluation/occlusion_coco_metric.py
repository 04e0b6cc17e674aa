"""COCO metric that also tells how AP falls with occlusion."""

import tempfile
from pathlib import Path

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.fileio import get_local_path, load
from mmengine.logging import MMLogger

from mmhybrid.errors import InputError
from mmhybrid.occlusion import OcclusionResult, evaluate, format_table
from mmhybrid.occlusion.io import load_ground_truth


@METRICS.register_module()
class OcclusionCocoMetric(CocoMetric):
    """``CocoMetric`` and, for each threshold t, box or mask AP on the images with an occlusion ratio r >= t.

    The scalars are named ``bbox_mAP_occ_0.4`` (t = 0.4) and, with MMDetection's prefix, ``coco/bbox_mAP_occ_0.4``; a
    stratum without ground truth has none. The whole table, with the disjoint bins and the numbers of images, goes to
    the log. Ratio and strata are those of :mod:`mmhybrid.occlusion`, over the instances of the evaluated classes.

    Args:
        ann_file: As in ``CocoMetric``.
        **kwargs: Of ``CocoMetric``.

    Raises:
        InputError: If the annotation file cannot be evaluated by occlusion; the sentence names the record.
    """

    def __init__(self, ann_file: str | None = None, **kwargs):
        super().__init__(ann_file=ann_file, **kwargs)
        self._ann_file = ann_file
        if ann_file is not None and not self.format_only:
            # Now rather than after the first epoch.
            with get_local_path(ann_file, backend_args=self.backend_args) as local_path:
                load_ground_truth(local_path, with_masks='segm' in self.metrics)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute COCO's metrics and those of each stratum from the results of all images."""
        outfile_prefix = self.outfile_prefix
        with tempfile.TemporaryDirectory() as folder:
            # CocoMetric would write the detections into a temporary folder of its own and remove it.
            self.outfile_prefix = outfile_prefix or str(Path(folder, 'results'))
            try:
                metrics = super().compute_metrics(results)
                if not self.format_only:
                    metrics.update(self._by_occlusion())
            finally:
                self.outfile_prefix = outfile_prefix
        return metrics

    def _by_occlusion(self) -> dict[str, float]:
        scalars = {}
        ground_truth = self._ground_truth()
        for iou_type in self.metrics:
            if iou_type not in ('bbox', 'segm'):
                continue  # proposals have no AP
            detections = load(f'{self.outfile_prefix}.{iou_type}.json')
            if not detections:  # early in training; CocoMetric has said so
                continue
            logger = MMLogger.get_current_instance()
            try:
                result = evaluate(ground_truth, detections, (iou_type,), name=self.prefix)[iou_type]
            except InputError as error:  # a diverged model's boxes must not end its training
                logger.error(f'No {iou_type} AP by occlusion: {error}')
                continue
            logger.info(f'{iou_type} AP by occlusion\n{format_table([result])}')
            scalars |= _scalars(result)
        return scalars

    def _ground_truth(self) -> dict:
        # Read again, since pycocotools overwrites `ignore` in what CocoMetric holds, which the ratio depends on.
        path = self._ann_file or f'{self.outfile_prefix}.gt.json'
        with get_local_path(path, backend_args=self.backend_args) as local_path:
            ground_truth = load(local_path, file_format='json')
        classes = set(self.cat_ids)  # a config may evaluate fewer than the file has
        ground_truth['categories'] = [c for c in ground_truth['categories'] if c['id'] in classes]
        ground_truth['annotations'] = [a for a in ground_truth['annotations'] if a['category_id'] in classes]
        return ground_truth


def _scalars(result: OcclusionResult) -> dict[str, float]:
    return {
        f'{result.iou_type}_mAP_occ_{part.stratum.lower:g}': round(part.ap, 3)
        for part in result.cumulative
        if part.stratum.lower > 0 and part.num_instances
    }
