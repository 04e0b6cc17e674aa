"""Receptive fields, against kernels, sums of their sizes, and a search that changes one pixel after the other."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.inspecting.analyses import fields
from mmhybrid.inspecting.analyses.receptive_field import measure
from mmhybrid.layers import GlobalContext, SqueezeExcite
from mmhybrid.zoo import create_backbone


def reached(model, size=33, channels=3):
    """(H, W) of a model in evaluation mode."""
    x = torch.randn(1, channels, *np.broadcast_to(size, 2)).double().requires_grad_()
    return fields.reached_pixels(model.double().eval()(x), x).numpy()


def box(mask):
    return fields.Field('', 1, np.zeros(mask.shape), mask).box


def side(mask):
    x0, y0, x1, y1 = box(mask)
    assert x1 - x0 == y1 - y0
    return x1 - x0


def test_one_convolution_reaches_its_kernel_and_its_gradient_is_the_kernel():
    kernel = torch.randn(1, 1, 3, 5)
    kernel[0, 0, 1, 1] = 0  # a weight that happens to be 0 counts all the same
    model = nn.Conv2d(1, 1, (3, 5), padding=(1, 2), bias=False)
    model.weight.data.copy_(kernel)
    (field,) = measure(lambda x: {'backbone.0': model(x)}, iter([torch.randn(2, 1, 21, 21)]))
    assert field.box == (8, 9, 13, 12)
    assert field.reached.sum() == 15
    assert not field.clipped
    np.testing.assert_allclose(field.magnitude[9:12, 8:13], kernel[0, 0].abs(), rtol=1e-6)
    assert field.magnitude.sum() == pytest.approx(float(kernel.abs().sum()))


@pytest.mark.parametrize(
    ('layers', 'expected'),
    [
        ([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)], 5),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=2, dilation=2)], 7),
        ([nn.Conv2d(3, 4, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)], 7),
        ([nn.Conv2d(3, 4, 7, 2, padding=3), nn.ReLU(True), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 1)], 11),
        ([nn.AvgPool2d(2, 2), nn.MaxPool2d(2, ceil_mode=True)], 4),
        ([nn.MaxPool2d(3, 1, padding=1, dilation=2)], 5),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)], 4),
        ([nn.Conv2d(3, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)], 2),
    ],
)
def test_kernels_strides_and_dilations(layers, expected):
    assert side(reached(nn.Sequential(*layers), 32)) == expected


def test_a_dilated_kernel_has_holes():
    mask = reached(nn.Conv2d(3, 2, 3, padding=2, dilation=2))
    assert mask.sum() == 9
    assert side(mask) == 5


class Normed(nn.Module):
    """A norm over the map after a convolution."""

    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), norm

    def forward(self, x):
        return self.norm(self.conv(x))


class Attention(nn.Module):
    """Softmax over positions."""

    def forward(self, x):
        return x[:, :1].flatten(2).softmax(2).reshape(x[:, :1].shape)


@pytest.mark.parametrize(
    'model',
    [
        nn.AdaptiveAvgPool2d(1),
        SqueezeExcite(3, reduction=1),
        nn.Sequential(nn.Conv2d(3, 8, 1), GlobalContext(8, 4)),
        Normed(nn.GroupNorm(2, 4)),
        Normed(nn.LayerNorm((4, 33, 33))),
        Attention(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_looks_everywhere_reaches_everything(model):
    assert reached(model).all()


def test_zero_weights_and_blocked_activations_do_not_hide_pixels():
    """MMDetection begins with residual branches that are multiplied by 0."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    model[1].weight.data.zero_()
    model[1].bias.data.fill_(-1)
    assert side(reached(model)) == 5


def layer(kind, kernel, stride, dilation):
    """Of two channels."""
    if kind in ('conv', 'grouped'):
        groups = 2 if kind == 'grouped' else 1
        return nn.Conv2d(2, 2, kernel, stride, kernel // 2, dilation, groups)
    if kind == 'max':
        return nn.MaxPool2d(kernel, stride, kernel // 2, dilation, ceil_mode=dilation == 2)
    return nn.ReLU() if kind == 'relu' else nn.BatchNorm2d(2)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(['conv', 'grouped', 'max', 'relu', 'norm']),
            st.integers(1, 4),
            st.integers(1, 2),
            st.integers(1, 2),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_search_over_pixels_finds_the_same(parts):
    """Brute force: which pixel, when it is no number, makes the feature none. NaN passes through every operation."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), *(layer(*part) for part in parts)).double().eval()
    size = 12
    images = torch.zeros(size * size, 1, size, size).double()
    images.view(size * size, -1).fill_diagonal_(float('nan'))
    try:
        out = model(images)
    except RuntimeError:  # the map has become smaller than a kernel
        return
    middle = out[:, :, out.shape[2] // 2, out.shape[3] // 2]
    expected = middle.isnan().any(1).reshape(size, size).numpy()
    np.testing.assert_array_equal(reached(model, size, 1), expected)


def test_resnet50_reaches_what_its_kernels_say():
    """35 pixels of stage 1, and so on, by r' = r + (k - 1) * product of strides."""
    from mmdet.models.backbones import ResNet

    size, jump, expected = 11, 4, []
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            size += 2 * jump
            jump *= 2 if stage and not block else 1
        expected.append(size)
    model = ResNet(50, base_channels=4, style='pytorch')
    model.eval()
    x = torch.randn(1, 3, 512, 512).requires_grad_()
    found = [side(fields.reached_pixels(level, x).numpy()) for level in model(x)]
    assert found == expected == [35, 91, 267, 427]


def test_gates_of_hcgnet_look_everywhere():
    model = create_backbone('hcgnet_a1').eval()
    x = torch.randn(1, 3, 48, 64).requires_grad_()
    assert all(fields.reached_pixels(level, x).all() for level in model(x))


def test_squares_that_hold_a_share():
    even = np.zeros((21, 31))
    even[8:13, 10:15] = 1
    assert fields.square_side(even, 1.0) == 5
    assert fields.square_side(even, 9 / 25) == 3
    assert fields.square_side(even, 0.01) == 1
    field = fields.Field('', 1, even, even > 0)
    assert field.centre == (12, 10)
    assert field.sigmas == pytest.approx((2**0.5, 2**0.5))
    assert field.theoretical == 5
    rows, columns = np.indices((301, 301)) - 150
    gauss = np.exp(-(rows**2 + columns**2) / (2 * 20**2))
    # Of a Gaussian erf(a / sqrt 2)^2 lies within a standard deviations in both directions.
    assert fields.square_side(gauss, 0.4660649) == pytest.approx(40, abs=1.5)
    assert fields.square_side(gauss, 0.9110697) == pytest.approx(80, abs=1.5)


def test_without_a_gradient_there_is_no_size():
    field = fields.Field('', 1, np.zeros((5, 5)), np.zeros((5, 5), bool))
    assert np.isnan([field.side(0.5), *field.centre, *field.sigmas]).all()
    assert (field.box, field.theoretical, field.clipped) == ((0, 0, 0, 0), 0, False)


def test_the_square_of_the_gradient_is_that_of_all_channels_on_average():
    conv = nn.Conv2d(1, 16, 3, padding=1, bias=False).double()
    images = torch.randn(400, 1, 7, 7).double()
    (field,) = measure(lambda x: {'a.0': conv(x)}, iter(images.split(100)))
    expected = conv.weight.detach().square().sum((0, 1)).sqrt().numpy()
    np.testing.assert_allclose(field.magnitude[2:5, 2:5], expected, rtol=0.15)


def test_numbers_depend_on_the_seed_alone_and_the_model_is_as_before():
    from mmhybrid.inspecting.analyses.backward import fixed_weights

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3)).eval()
    before, images = copy.deepcopy(model.state_dict()), torch.randn(4, 3, 16, 16)

    def found(seed, batch):
        with fixed_weights(model):
            return measure(lambda x: {'a.0': model(x)}, iter(images.split(batch)), seed=seed)[0].magnitude

    np.testing.assert_allclose(found(0, 1), found(0, 4), rtol=1e-5)
    assert (found(0, 2) == found(0, 2)).all()
    assert (found(0, 2) != found(1, 2)).any()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in model.parameters())


def test_sizes_and_crops():
    assert fields.common_size([(100, 200), (130, 70)], 96) == (96, 64)
    assert fields.common_size([(20, 200)], 96) == (20, 96)
    image = torch.arange(25.0).reshape(1, 5, 5)
    assert fields.middle_crop(image, (3, 1)).flatten().tolist() == [7, 12, 17]
    assert F.pad(image, (0, 0)).equal(fields.middle_crop(image, (5, 5)))


def test_a_level_that_is_not_there_is_told():
    with pytest.raises(InputError, match=r'^small has no level .neck\.7.: --levels takes backbone\.0\.'):
        measure(lambda x: {'backbone.0': x}, iter([torch.randn(1, 3, 4, 4)]), ['neck.7'], model='small')


def test_strides_of_levels_that_do_not_divide_the_picture():
    """RetinaNet on 480 pixels: 60, 30, 15, 8 and 4 cells a side."""
    stem = nn.Conv2d(1, 1, 3, 8, padding=1)
    further = nn.ModuleList(nn.Conv2d(1, 1, 3, 2, padding=1) for _ in range(4))

    def levels_of(x):
        maps = [stem(x)]
        for each in further:
            maps.append(each(maps[-1]))
        return {f'neck.{i}': level for i, level in enumerate(maps)}

    for size in ((480, 480), (480, 608), (32, 192)):
        assert [field.stride for field in measure(levels_of, iter([torch.randn(1, 1, *size)]))] == [8, 16, 32, 64, 128]
    (third,) = measure(lambda x: {'a.0': F.avg_pool2d(x, 3)}, iter([torch.randn(1, 1, 33, 48)]))
    assert third.stride == 3


def test_what_pads_a_picture_does_not_count():
    """6 x 40 pixels in 32 x 64: the feature is in the middle of the picture, and the field ends where it does."""
    conv = nn.Sequential(nn.Conv2d(1, 4, 9, 4, padding=4, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False))
    (field,) = measure(lambda x: {'a.0': conv(x)}, iter([torch.randn(2, 1, 32, 64)]), shape=(6, 40))
    assert field.magnitude.shape == field.reached.shape == (6, 40)
    # Two rows and ten columns of cells see the picture; of cell (1, 5) the field reaches 8 pixels around (4, 20).
    assert field.box == (12, 0, 29, 6)
    assert field.clipped
    x0, y0, x1, y1 = field.square(1.0)
    assert (x0, y0, x1, y1) == (12, 0, 29, 6)
    assert field.side(0.5) < field.side(0.95) <= field.side(1.0) == pytest.approx(field.theoretical)


def test_a_square_is_cut_off_by_the_picture():
    line = np.zeros((4, 40))
    line[1, 10:31] = 1
    field = fields.Field('', 1, line, np.ones((4, 40), bool))
    assert field.square(1.0) == (10, 0, 31, 4)
    assert field.side(1.0) == pytest.approx((21 * 4) ** 0.5)
    even = fields.Field('', 1, np.pad(np.ones((5, 5)), 10), np.ones((25, 25), bool))
    assert even.square(1.0) == (10, 10, 15, 15)


def test_the_image_that_makes_all_crops_small():
    assert fields.limiting([[(600, 800)], [(8, 192)], [(480, 480)]], 512) == 1
    assert fields.limiting([[(600, 800), (90, 200)], [(500, 600), (500, 600)]], 512) == 0
    assert fields.limiting([[(600, 800)], [(480, 480)]], 512) is None
    assert fields.limiting([[(8, 192)], [(8, 190)]], 512) is None
