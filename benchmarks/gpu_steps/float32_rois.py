"""An RoI extractor for bfloat16, which mmcv's RoIAlign does not know."""

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor


class Float32RoIExtractor(SingleRoIExtractor):
    """MMDetection's extractor on float32 maps and boxes; autocast takes its output from there."""

    def forward(self, feats, rois, roi_scale_factor=None):
        return super().forward(tuple(x.float() for x in feats), rois.float(), roi_scale_factor)
