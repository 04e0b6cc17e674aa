"""Similarity of filters, against hand calculation and nets whose patterns are known."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.inspecting.analyses import backward, filter_patterns, filter_similarity, filters
from mmhybrid.layers import TiedBlockConv2d
from mmhybrid.layers.preact import PreActConv2d


def conv(weight, **options):
    """A convolution without bias that has these weights, in float64."""
    weight = torch.as_tensor(weight, dtype=torch.float64)
    made = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False, **options).double()
    made.weight.data.copy_(weight)
    return made


def similarity(model, images, layers, most=99, **options):
    """Of patterns of ``images`` (N, 3, H, W) in one batch."""
    inputs = [(list(images), lambda pixels: model(torch.stack(list(pixels))))]
    return filter_similarity.pattern_similarity(model, inputs, layers, most, **options)


def test_cosines_of_equal_opposite_orthogonal_and_dead_rows():
    rows = torch.tensor([[1.0, 2, 0], [2, 4, 0], [-1, -2, 0], [0, 0, 3], [0, 0, 0], [1e-30, 2e-30, 0]])
    found = filter_patterns.cosines(rows).numpy()
    np.testing.assert_allclose(found[0, [0, 1, 2, 3, 5]], [1, 1, -1, 0, 1], atol=1e-6)
    assert np.isnan(found[4]).all()
    assert np.isnan(found[:, 4]).all()
    assert not np.isnan(found[:4, :4]).any()


def test_similarity_of_weights():
    weight = torch.randn(1, 3, 3, 3).double()
    other = torch.randn(1, 3, 3, 3).double()
    other -= weight * (weight * other).sum() / weight.square().sum()
    layer = conv(torch.cat([weight, 3 * weight, -weight, other]))
    found = filter_similarity.weight_similarity(layer, [0, 1, 2, 3])
    expected = [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_tied_convolution_has_each_filter_once_in_its_weights():
    assert filter_similarity.weight_similarity(TiedBlockConv2d(8, 8, 3, blocks=4), [0, 1]).shape == (2, 2)


def test_the_pattern_of_a_linear_net_is_its_weights():
    """One position, which responds: the pattern is the filter, and of two layers their product."""
    first, second = torch.randn(4, 3, 5, 5).double(), torch.rand(3, 4, 1, 1).double()
    model = nn.Sequential(conv(first), conv(second))
    # The image responds to each filter of the second layer.
    products = torch.einsum('ab,bchw->achw', second[:, :, 0, 0], first)
    image = torch.linalg.lstsq(products.flatten(1), torch.ones(3, 1).double()).solution.reshape(3, 5, 5)
    image.requires_grad_()
    with filter_patterns.responses(model, ['1']) as found:
        model(image[None])
    for channel in range(3):
        (pattern,) = filter_patterns.patterns(found['1'], [image], channel)
        torch.testing.assert_close(pattern, products[channel])
    expected = filter_patterns.cosines(products.flatten(1))
    np.testing.assert_allclose(similarity(model, image[None], ['1'])[0][0], expected, atol=1e-12)


@pytest.mark.parametrize('relu', [nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, lambda x: x.relu_()])
def test_guided_back_propagation_by_hand(relu):
    """x -> u = A x -> ReLU -> v = B h -> ReLU -> w = C k: gradients pass where the input and they are positive."""
    a, b, c = (torch.randn(*shape).double() for shape in ((6, 3), (5, 6), (1, 5)))
    layers = [conv(each[:, :, None, None]) for each in (a, b, c)]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return self.layers[2](relu(self.layers[1](relu(self.layers[0](x)))))

    x = torch.randn(3, 1, 1).double()
    u = a @ x.flatten()
    v = b @ u.clamp(min=0)
    grad = c[0] * (v > 0) * (c[0] > 0)
    grad = b.T @ grad
    expected = a.T @ (grad * (u > 0) * (grad > 0))
    model, pixels = Net(), x.clone().requires_grad_()
    with backward.Guided():
        (found,) = torch.autograd.grad(model(pixels[None]).sum(), pixels)
    torch.testing.assert_close(found.flatten(), expected)
    (plain,) = torch.autograd.grad(model(pixels[None]).sum(), pixels)
    torch.testing.assert_close(plain.flatten(), a.T @ ((b.T @ (c[0] * (v > 0))) * (u > 0)))
    assert not torch.allclose(plain, found)


def test_guidance_reaches_into_a_function_of_its_own_and_spares_gates():
    """PreActConv2d's backward pass is one autograd function; a sigmoid's negative gradients pass."""
    torch.manual_seed(3)
    layer = PreActConv2d(3, 4, 1).double().eval()
    assert layer.conv.weight.min() < 0
    x = torch.randn(2, 3, 4, 4).double().requires_grad_()
    with backward.fixed_weights(layer), backward.Guided():
        (found,) = torch.autograd.grad(layer(x).sum(), x)
    grad = layer.conv.weight[:, :, 0, 0].sum(0)[None, :, None, None]
    scale = (layer.norm.weight / (layer.norm.running_var + layer.norm.eps).sqrt())[None, :, None, None]
    torch.testing.assert_close(found, grad.clamp(min=0) * scale * (x > 0))
    with backward.Guided():
        (found,) = torch.autograd.grad(-torch.sigmoid(x).sum(), x)
    assert found.max() < 0


def test_a_response_is_taken_after_its_norm_and_before_what_follows_in_place():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(6)

        def forward(self, x):
            out = self.norm(torch.cat([self.a(x), self.b(x)], dim=1))
            out += 100
            return out

    model, x = Block().eval(), torch.randn(1, 3, 8, 8)
    model.norm.bias.data.uniform_()
    with filter_patterns.responses(model, ['a', 'b']) as found:
        out = model(x)
    assert (found['a'].first, found['a'].channels, found['b'].first, found['b'].channels) == (0, 4, 4, 2)
    assert found['a'].normed
    torch.testing.assert_close(found['b'].map + 100, out)


def test_equal_filters_of_a_net_are_equal_and_dead_ones_are_told():
    weight = torch.randn(4, 3, 3, 3).double()
    weight[1] = 2 * weight[0]
    weight[3] = 0
    model = nn.Sequential(conv(weight), nn.ReLU(inplace=True))
    for reduce in ('sum', 'max'):
        (found,), channels, (chosen,), normed = similarity(
            model, torch.randn(3, 3, 9, 9).double(), ['0'], reduce=reduce
        )
        assert (channels, normed) == ([4], [False])
        np.testing.assert_allclose(found[0, 1], 1)
        layer = filter_similarity.Layer('0', 0.0, 4, chosen, found)
        assert layer.dead == [3]
        assert len(layer.pairs) == 3
        assert layer.counts.sum() == 3
        assert (layer.density * np.diff(filter_similarity.BINS)).sum() == pytest.approx(1)
        assert not np.isnan(list(layer.summary().values())).any()


def test_the_largest_response_alone_gives_the_filter_itself():
    model, image = nn.Sequential(conv(torch.randn(2, 3, 3, 3))), torch.randn(3, 9, 9).double().requires_grad_()
    with filter_patterns.responses(model, ['0']) as found:
        out = model(image[None])
    (pattern,) = filter_patterns.patterns(found['0'], [image], 1, 'max')
    row, column = divmod(int(out[0, 1].argmax()), 7)
    expected = torch.zeros(3, 9, 9).double()
    expected[:, row : row + 3, column : column + 3] = model[0].weight[1].detach()
    torch.testing.assert_close(pattern, expected)


def test_similarity_is_the_mean_over_images_whatever_the_batches():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(True), nn.Conv2d(5, 6, 3)).double().eval()
    images = torch.randn(3, 3, 9, 9).double()
    one, *_ = similarity(model, images, ['0', '3'])
    each = [similarity(model, image[None], ['0', '3'])[0] for image in images]
    for place in range(2):
        np.testing.assert_allclose(one[place], np.nanmean([found[place] for found in each], axis=0), atol=1e-9)


def test_same_seed_same_filters():
    assert (filter_similarity.choose(64, 8, 0, 1) == filter_similarity.choose(64, 8, 0, 1)).all()
    assert (filter_similarity.choose(64, 8, 0, 1) != filter_similarity.choose(64, 8, 1, 1)).any()
    assert filter_similarity.choose(5, 8, 0, 1).tolist() == [0, 1, 2, 3, 4]


def test_the_model_is_as_before():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3)).eval()
    model[3].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    similarity(model, torch.randn(2, 3, 9, 9), ['0', '3'])
    with pytest.raises(InputError, match='does not run'):
        similarity(Skipping(model), torch.randn(2, 3, 9, 9), ['idle'])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [each.requires_grad for each in model.parameters()] == [True] * 4 + [False, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


class Skipping(nn.Module):
    """Has a convolution that does not run."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.idle = inner, nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.inner(x)


class Checkpointed(nn.Module):
    """Computes anew what it gave, as MMDetection's blocks do."""

    def __init__(self):
        super().__init__()
        self.conv, self.with_cp = nn.Conv2d(3, 4, 3, padding=1), True

    def forward(self, x):
        if self.with_cp:
            return torch.utils.checkpoint.checkpoint(self.conv, x, use_reentrant=True).relu()
        return self.conv(x).relu()


def test_what_is_recomputed_is_kept_while_gradients_are_taken():
    model = nn.Sequential(Checkpointed(), nn.Conv2d(4, 4, 1)).eval()
    model[1].with_cp = False
    model[1].weight.requires_grad_(False)
    x = torch.randn(1, 3, 6, 6).requires_grad_()
    with pytest.raises(ZeroDivisionError), backward.fixed_weights(model):
        assert not model[0].with_cp
        (found,) = torch.autograd.grad(model(x).sum(), x)
        raise ZeroDivisionError
    assert (model[0].with_cp, model[1].with_cp) == (True, False)
    assert [each.requires_grad for each in model.parameters()] == [True, True, False, True]
    model[0].with_cp = False
    torch.testing.assert_close(found, torch.autograd.grad(model(x).sum(), x)[0])


def test_default_layers_lie_through_the_depth():
    blocks = {f'layer{i}': nn.ModuleList(nn.Conv2d(8, 8, 3) for _ in range(6)) for i in (1, 2)}
    blocks['layer2'][5] = nn.ModuleDict({'a': nn.Conv2d(8, 8, 3), 'b': TiedBlockConv2d(8, 8, 3, blocks=2)})
    model = nn.ModuleDict({'stem': nn.Conv2d(3, 8, 7), 'one': nn.Conv2d(8, 8, 1), **blocks})
    names = filter_patterns.default_layers(model, 'patterns')
    assert len(names) == 8
    assert (names[0], names[-1]) == ('stem', 'layer2.5.b')
    assert filter_patterns.default_layers(model, 'weights')[-1] == 'layer2.5.a'
    assert filter_patterns.default_layers(nn.Conv2d(8, 8, 3, groups=8), 'weights') == []


def test_images_are_shrunk_alone():
    image = torch.rand(3, 40, 80)
    assert filters.shrunk(image, 80) is image
    assert filters.shrunk(image, 20).shape == (3, 10, 20)


def test_images_of_one_size_go_together():
    shapes = [(3, 4, 5), (3, 5, 4), (3, 4, 5), (3, 4, 4)]
    assert filters.of_one_size([torch.zeros(shape) for shape in shapes]) == [[0, 2], [1], [3]]


def test_a_layer_without_a_map_is_told():
    model = nn.Sequential(nn.Flatten())
    with pytest.raises(InputError, match='no single map'):
        similarity(model, torch.randn(1, 3, 4, 4), ['0'])
