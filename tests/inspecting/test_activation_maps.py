"""Class activation maps of given activations: by hand, by numpy's SVD, and by another implementation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmhybrid.inspecting.analyses import activation_maps as maps


def normalised(values):
    """As pytorch_grad_cam does."""
    values = np.maximum(np.asarray(values, np.float64), 0)
    values = values - values.min()
    return values / (1e-7 + values.max())


def test_grad_cam_of_a_linear_layer_by_hand():
    """Score = sum_c w_c mean A_c: alpha_c = w_c / (h w), as in the article's proof that Grad-CAM generalises CAM."""
    activations = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, dtype=torch.float64)
    score = (weights * activations.mean((1, 2))).sum()
    (gradients,) = torch.autograd.grad(score, activations)
    made = maps.grad_cam(activations.detach(), gradients)
    by_hand = [
        [max(sum(float(weights[c] * activations[c, y, x].detach()) for c in range(5)) / 12, 0) for x in range(4)]
        for y in range(3)
    ]
    torch.testing.assert_close(made, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-12, atol=1e-14)
    # The gradient is the same everywhere, so that both methods agree.
    torch.testing.assert_close(maps.hires_cam(activations.detach(), gradients), made, rtol=1e-12, atol=1e-14)
    whole = sum(
        abs(float(weights[c] * activations[c, y, x])) / 12 for c in range(5) for y in range(3) for x in range(4)
    )
    assert maps.contribution(activations.detach(), gradients) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize('shape', [(4, 5, 6), (40, 3, 5), (1, 4, 4)])
def test_eigen_cam_is_the_first_component_of_numpys_svd(shape):
    activations = torch.randn(shape, dtype=torch.float64).relu() + 0.3 * torch.randn(shape[1:], dtype=torch.float64)
    values, share = maps.eigen_cam(activations)
    positions = activations.numpy().reshape(shape[0], -1).T
    centred = positions - positions.mean(0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    along = centred @ right[0]
    lengths = np.linalg.norm(positions, axis=1)
    along *= np.sign(along @ (lengths - lengths.mean()))
    np.testing.assert_allclose(values.numpy().ravel(), np.maximum(along, 0), rtol=1e-9, atol=1e-9)
    assert share == pytest.approx(singular[0] ** 2 / (singular**2).sum(), rel=1e-9)


def test_eigen_cam_is_bright_where_one_object_is():
    activations = torch.zeros(6, 8, 8)
    activations[:, 2:4, 5:7] = torch.rand(6, 1, 1) + 1
    values, share = maps.eigen_cam(activations)
    assert (values > 0).nonzero().tolist() == [[y, x] for y in (2, 3) for x in (5, 6)]
    assert share == pytest.approx(1)
    flat, none = maps.eigen_cam(torch.ones(6, 8, 8))
    assert none == 0
    assert not flat.any()


@given(
    cells=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    stride=st.sampled_from([1, 2, 4, 8, 16]),
    rest=st.tuples(st.floats(0.0, 1), st.floats(0.0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_a_map_lies_where_its_cells_are(cells, stride, rest):
    padded = tuple(max(n * stride - int(r * (stride - 1)), 1) for n, r in zip(cells, rest, strict=True))
    values = torch.rand(cells, dtype=torch.float64)
    placed = maps.place(values, padded, padded)
    assert placed.shape == padded
    found = maps.stride_of(cells, padded)
    for axis in (0, 1):
        # A power of two is taken only where it makes as many cells.
        assert math.ceil(padded[axis] / found[axis] - 1e-9) == cells[axis]
    assert values.min() - 1e-12 <= placed.min() <= placed.max() <= values.max() + 1e-12


def test_padding_and_a_last_cell_that_sticks_out():
    assert maps.stride_of((13, 21), (800, 1344)) == (64, 64)
    assert maps.stride_of((3, 3), (300, 300)) == (128, 128)
    assert maps.stride_of((7, 7), (100, 100)) == (16, 16)
    assert maps.stride_of((3, 5), (100, 100)) == (100 / 3, 20)
    assert maps.unpadded_cells((4, 5), (128, 160), (96, 100)) == (3, 4)
    values = torch.zeros(4, 5)
    values[3] = 1  # in the padding alone
    placed = maps.place(values, (128, 160), (96, 100))
    assert placed.shape == (96, 100)
    assert placed[:80].max() == 0
    assert maps.place(torch.eye(2), (4, 4), (4, 4))[0].tolist() == [1, 0.75, 0.25, 0]


def test_share_in_a_box_counts_pixels_by_their_centres():
    values = torch.arange(12.0).view(3, 4)
    assert maps.share_in_box(values, torch.tensor([1.0, 0.0, 3.0, 2.0])) == pytest.approx((1 + 2 + 5 + 6) / 66)
    assert maps.share_in_box(values, torch.tensor([0.6, -5.0, 2.4, 1.4])) == pytest.approx(1 / 66)
    assert maps.share_in_box(values, torch.tensor([-9.0, -9.0, 99.0, 99.0])) == 1
    assert math.isnan(maps.share_in_box(torch.zeros(3, 4), torch.tensor([0.0, 0.0, 1.0, 1.0])))
    assert maps.area_share((10, 20), torch.tensor([0.0, 0.0, 5.0, 4.0])) == pytest.approx(0.1)


def test_the_package_grad_cam_gives_the_same_maps():
    package = pytest.importorskip('pytorch_grad_cam')
    cv2 = pytest.importorskip('cv2')
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 5),
    ).eval()  # fmt: skip
    x = torch.randn(1, 3, 32, 48)
    for layer in (1, 3):
        level = net[: layer + 1](x).detach().requires_grad_()
        logits = net[layer + 1 :](level)[0]
        (gradient,) = torch.autograd.grad(logits[2], level)
        mine = {
            'GradCAM': maps.grad_cam(level[0].detach(), gradient[0]),
            'HiResCAM': maps.hires_cam(level[0].detach(), gradient[0]),
            'EigenCAM': maps.eigen_cam(level[0].detach())[0],
        }
        for name, values in mine.items():
            with getattr(package, name)(model=net, target_layers=[net[layer]]) as cam:
                theirs = cam(input_tensor=x, targets=[ClassifierOutputTarget(2)])[0]
            # Theirs is scaled before and after it is resized.
            expected = normalised(cv2.resize(normalised(values).astype(np.float32), (48, 32)))
            if name == 'EigenCAM' and np.abs(theirs - expected).max() > 1e-4:
                values, _ = maps.eigen_cam(level[0].detach())
                flipped = _other_sign(level[0].detach())  # their component has whichever sign the SVD gives
                expected = normalised(cv2.resize(normalised(flipped).astype(np.float32), (48, 32)))
            np.testing.assert_allclose(theirs, expected, atol=1e-4, err_msg=f'{name}, layer {layer}')


def _other_sign(activations):
    positions = activations.flatten(1).T.double().numpy()
    centred = positions - positions.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    lengths = np.linalg.norm(positions, axis=1)
    return (-along * np.sign(along @ (lengths - lengths.mean()))).reshape(activations.shape[1:])
