"""COCO metric that also tells how AP falls with occlusion."""

import tempfile
from pathlib import Path

from mmdet.registry import METRICS
from mmengine.fileio import get_local_path, load
from mmengine.logging import MMLogger

from mmhybrid import _stack
from mmhybrid.errors import InputError
from mmhybrid.occlusion import OcclusionResult, Selection, evaluate, format_table
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

with _stack.quiet():
    from mmdet.evaluation import CocoMetric

# MMDetection's names of COCO's metrics.
SCALARS = {'mAP': 'ap', 'mAP_50': 'ap50', 'mAP_75': 'ap75', 'AR': 'ar'}


@METRICS.register_module()
class OcclusionCocoMetric(CocoMetric):
    """``CocoMetric`` and, for each threshold t, COCO's metrics on the images with an occlusion ratio r >= t.

    The scalars are named ``bbox_mAP_occ_0.4``, ``bbox_mAP_50_occ_0.4``, ``bbox_mAP_75_occ_0.4`` and ``bbox_AR_occ_0.4``
    (t = 0.4) and, with MMDetection's prefix, ``coco/bbox_mAP_occ_0.4``; a stratum without ground truth has none, and
    groups of images that the user labelled have their label in place of the threshold (numbers of the user's own need
    ``thresholds``). The
    whole table, with the disjoint bins and the numbers of images, goes to the log. The ratio is over the instances of
    the evaluated classes. hotcoco matches where it is installed, pycocotools elsewhere; the numbers are equal.

    Args:
        ann_file: As in ``CocoMetric``.
        occlusion: Arguments of :class:`mmhybrid.occlusion.Selection`, e.g. ``dict(geometry='segm')`` or
            ``dict(thresholds=[0.2, 0.5])``; by default ``covered`` on boxes in steps of 0.1.
        **kwargs: Of ``CocoMetric``.

    Raises:
        InputError: If the annotation file cannot be evaluated by occlusion; the sentence names the record.
    """

    def __init__(self, ann_file: str | None = None, occlusion: dict | None = None, **kwargs):
        super().__init__(ann_file=ann_file, **kwargs)
        self._ann_file = ann_file
        self._selection = Selection(**(occlusion or {}))
        if ann_file is not None and not self.format_only:
            # Now rather than after the first epoch.
            geometries = self._selection.geometries() + (('segm',) if 'segm' in self.metrics else ())
            with get_local_path(ann_file, backend_args=self.backend_args) as local_path:
                self._selection.apply(load_ground_truth(local_path, geometries))

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
            path = Path(f'{self.outfile_prefix}.{iou_type}.json')
            if path.stat().st_size <= len('[]\n'):  # early in training; CocoMetric has said so
                continue
            logger = MMLogger.get_current_instance()
            try:
                result = evaluate(ground_truth, path, (iou_type,), self._selection, self.prefix)[iou_type]
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
    own = result.measure.definition == 'user'  # r >= 0 is all images, a temperature >= 0 is not
    parts = {f'{part.stratum.lower:g}': part for part in result.cumulative if own or part.stratum.lower > 0}
    parts |= {part.stratum.name: part for part in result.groups}
    return {
        f'{result.iou_type}_{name}_occ_{label}': round(getattr(part, field), 3)
        for label, part in parts.items()
        if part.num_instances
        for name, field in SCALARS.items()
    }
