"""Which level of the FPN boxes come from: against anchors and RoIs that are decoded by hand."""

import numpy as np
import pytest
import torch

from mmhybrid.inspecting.analyses.proposal_levels import levels_kept
from mmhybrid.inspecting.analyses.proposal_steps import Reader, arguments_of

from ..exporting.models import build
from .test_proposals import SIZE, inputs, subject


def many_levels(kind):
    """A detector of two stages whose proposals are made by, and whose RoIs are pooled from, several levels."""
    model = build(kind)
    model.rpn_head.test_cfg.nms_pre = 8
    for extractor in extractors(model):
        extractor.finest_scale = 5  # for pictures this small
    return model


def extractors(model):
    found = model.roi_head.bbox_roi_extractor
    return list(found) if isinstance(found, torch.nn.ModuleList) else [found]


def test_proposals_are_the_rpns_and_come_from_the_level_of_their_anchor():
    model, (pixels, metas) = many_levels('mask_rcnn'), inputs()
    reader = Reader(subject(model), 0.32)
    assert reader.levels == [f'stride {2**i}' for i in range(2, 7)]  # RoIs are pooled from the first four
    steps = reader(pixels, metas)
    with torch.no_grad():
        features = model.extract_feat(pixels)
        own = model.rpn_head.predict(features, metas, rescale=False)
        scores, deltas = model.rpn_head(features)
    anchors = model.rpn_head.prior_generator.grid_priors([each.shape[-2:] for each in scores], device='cpu')
    seen, of_size = [], []
    for i, (each, expected) in enumerate(zip(steps, own, strict=True)):
        np.testing.assert_array_equal(each.proposals.boxes, expected.bboxes.double().numpy())
        made = []
        for prior, score, delta in zip(anchors, scores, deltas, strict=True):
            boxes = model.rpn_head.bbox_coder.decode(
                prior, delta[i].permute(1, 2, 0).reshape(-1, 4), max_shape=(SIZE, SIZE)
            ).numpy()
            chances = score[i].permute(1, 2, 0).reshape(-1, 1).sigmoid().numpy()
            rows = np.concatenate([boxes, SIZE * chances], axis=1)
            wanted = np.concatenate([each.proposals.boxes, SIZE * each.proposals.scores[:, None]], axis=1)
            made.append(np.abs(rows[:, None] - wanted).max(axis=2).min(axis=0))
        np.testing.assert_array_equal(each.proposals.levels, np.argmin(made, axis=0))
        assert np.min(made, axis=0).max() < 1e-3 < np.sort(made, axis=0)[1].min()
        seen += each.proposals.levels.tolist()
        of_size += pooled_from(each.proposals.boxes).tolist()
    assert set(seen) == set(range(5)) and seen != of_size


def pooled_from(rois):
    sides = (rois[:, 2:] - rois[:, :2]).prod(axis=1) ** 0.5
    return np.floor(np.log2(np.maximum(sides, 1e-9) / 5 + 1e-6)).clip(0, 3)


@pytest.mark.parametrize('kind', ['mask_rcnn', 'cascade_mask_rcnn'])
def test_boxes_with_classes_come_from_the_level_that_their_roi_was_pooled_from(kind, monkeypatch):
    model, (pixels, metas) = many_levels(kind), inputs()
    reader = Reader(subject(model), 0.15)
    reader.head.fc_reg.bias.data.fill_(-6)  # boxes are smaller than their RoIs
    steps = reader(pixels, metas)
    pooled = []
    own = extractors(model)[-1].map_roi_levels
    monkeypatch.setattr(extractors(model)[-1], 'map_roi_levels', lambda *given: pooled.append(given[0]) or own(*given))
    with torch.no_grad():
        features = model.extract_feat(pixels)
        given = model.rpn_head.predict(features, metas, rescale=False)
        called = arguments_of(reader.head, lambda: model.roi_head.predict(features, given, metas)).arguments
    torch.testing.assert_close(pooled[-1], torch.cat(list(called['rois'])), rtol=0, atol=0)
    seen, of_size = [], []
    for each, rois, scores, deltas in zip(
        steps, called['rois'], called['cls_scores'], called['bbox_preds'], strict=True
    ):
        classes = 1 if reader.head.reg_class_agnostic else 3
        decoded = reader.head.bbox_coder.decode(
            rois[:, 1:].repeat_interleave(classes, 0), deltas.reshape(-1, 4), max_shape=(SIZE, SIZE)
        )
        decoded = decoded.reshape(-1, classes, 4).expand(-1, 3, 4).double().numpy()
        chances, levels = scores.softmax(-1).double().numpy(), pooled_from(rois[:, 1:].double().numpy())
        assert len(each.before.boxes) == (chances[:, :3] > 0.15).sum()
        for boxes in (each.before, each.after):
            for box, label, score, level in zip(boxes.boxes, boxes.labels, boxes.scores, boxes.levels, strict=True):
                off = np.abs(decoded[:, label] - box).max(axis=1) + np.abs(chances[:, label] - score)
                assert off.min() < 1e-4 and level in levels[off < 1e-4]
            seen += boxes.levels.tolist()
            of_size += pooled_from(boxes.boxes).tolist()
    assert len(set(seen)) > 1 and seen != of_size


def test_a_cascade_of_rpns_keeps_the_levels_of_its_last_stage():
    model, (pixels, metas) = many_levels('mask_rcnn'), inputs()
    rpns = torch.nn.Module()
    rpns.stages = torch.nn.ModuleList([torch.nn.Identity(), model.rpn_head])
    with torch.no_grad(), levels_kept(rpns):
        found = model.rpn_head.predict(model.extract_feat(pixels), metas, rescale=False)
    assert all(len(each.made_by) == len(each.bboxes) and len(each.made_by.unique()) > 1 for each in found)
    assert '_bbox_post_process' not in vars(model.rpn_head)


@pytest.mark.parametrize('softmax', [False, True])
def test_a_head_of_one_stage_gives_boxes_by_level(softmax):
    model, (pixels, metas) = build('retinanet', max_per_img=10**6), inputs()
    head = model.bbox_head
    if softmax:
        head.use_sigmoid_cls, head.cls_out_channels = False, 3  # two classes and background
    reader = Reader(subject(model), 0.4)
    assert reader.levels == [f'stride {2**i}' for i in range(2, 7)] and not reader.two_stages
    steps = reader(pixels, metas)
    anchors = head.prior_generator.grid_priors(
        [(SIZE // 2**i, SIZE // 2**i) for i in range(2, 6)] + [(2, 2)], device='cpu'
    )
    with torch.no_grad():
        scores, deltas = head(model.extract_feat(pixels))
    found = set()
    for i, each in enumerate(steps):
        assert len(each.before.boxes)
        for level, (prior, score, delta) in enumerate(zip(anchors, scores, deltas, strict=True)):
            chances = score[i].permute(1, 2, 0).reshape(-1, 3)
            chances = chances.softmax(-1)[:, :-1] if softmax else chances.sigmoid()
            decoded = head.bbox_coder.decode(prior, delta[i].permute(1, 2, 0).reshape(-1, 4), max_shape=(SIZE, SIZE))
            above = (chances > 0.4).nonzero()
            above = above[chances[tuple(above.T)].argsort(descending=True)[:100]]  # nms_pre
            expected = decoded[above[:, 0]].double().numpy()
            some = (expected[:, 2:] > expected[:, :2]).all(axis=1)  # min_bbox_size
            rows = each.before.levels == level
            np.testing.assert_allclose(each.before.scores[rows], chances[tuple(above.T)].numpy()[some], rtol=1e-6)
            assert sorted(each.before.labels[rows]) == sorted(above[:, 1].numpy()[some])
            np.testing.assert_allclose(
                np.sort(each.before.boxes[rows], axis=0), np.sort(expected[some], axis=0), rtol=1e-5, atol=1e-4
            )
            found |= {level} if rows.any() else set()
        assert (each.before.levels >= 0).all() and (each.after.levels >= 0).all()
    assert len(found) > 1
