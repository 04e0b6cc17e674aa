"""HCGNet written down as its article has it, one operation for each symbol: the baseline of the package's HCGNet.

Paper: C. Yang et al., "Gated Convolutional Networks with Hybrid Connectivity for Image Classification", AAAI 2020,
arXiv 1908.09699. Nothing here is arranged for speed, and nothing for slowness: every pre-activation is a batch
normalisation, a ReLU and a convolution of its own, every module concatenates what came before it, gates are softmaxes,
and pooling multiplies and sums. Parameters have the names of the authors' checkpoints (without ``features.``), so that
``mmhybrid.checkpoints.hcgnet`` converts them. Unlike the package's HCGNet it needs two images or more in training,
since a gate normalises over the batch alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# HCGNet-B: modules in each hybrid block, and the channels that each of them adds.
BLOCKS, GROWTH_RATES = (3, 6, 12, 8), (32, 48, 64, 96)


class PreActivation(nn.Module):
    """W * ReLU(BN(X))."""

    def __init__(self, c_in: int, c_out: int, kernel_size: int, **options: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(c_in)
        self.conv = nn.Conv2d(c_in, c_out, kernel_size, bias=False, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))


def global_attention_pool(x: Tensor, score: nn.Conv2d) -> Tensor:
    """z_c = sum over pixels of X_c S, with S the softmax over pixels of w X + b."""
    n, _, h, w = x.shape
    s = F.softmax(score(x).view(n, 1, h * w), dim=2).view(n, 1, h, w)
    return (x * s).sum(dim=(2, 3), keepdim=True)


class PlainSMG(nn.Module):
    """O = f(X') X' + v(X^{3x3}, X^{5x5}), with X' the squeezed input."""

    def __init__(self, c_in: int, c: int, squeezed: int, groups: int, stride: int, reduction: int):
        super().__init__()
        self.conv1_1x1 = PreActivation(c_in, squeezed, 1)
        self.conv2_3x3 = PreActivation(squeezed, c, 3, padding=1, stride=stride, groups=groups)
        self.conv_3x3 = PreActivation(c, c, 3, padding=1, groups=c)
        self.conv_5x5 = PreActivation(c, c, 3, padding=2, dilation=2, groups=c)
        # Update gate.
        self.global_context3x3 = nn.Conv2d(c, 1, 1)
        self.global_context5x5 = nn.Conv2d(c, 1, 1)
        self.fcall = nn.Conv2d(2 * c, 2 * c // reduction, 1)
        self.bn_attention = nn.BatchNorm2d(2 * c // reduction)
        self.fc3x3 = nn.Conv2d(2 * c // reduction, c, 1)
        self.fc5x5 = nn.Conv2d(2 * c // reduction, c, 1)
        # Forget gate.
        self.global_forget_context = nn.Conv2d(c, 1, 1)
        self.fc1 = nn.Conv2d(c, c // reduction, 1)
        self.bn_forget = nn.BatchNorm2d(c // reduction)
        self.fc2 = nn.Conv2d(c // reduction, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.transform(F.relu(self.conv1_1x1.norm(x)))

    def transform(self, activated: Tensor) -> Tensor:
        """O from ReLU(BN(X)), which a backbone gives out as its feature map where this module is a transition."""
        x = self.conv2_3x3(self.conv1_1x1.conv(activated))
        x3x3 = self.conv_3x3(x)
        x5x5 = self.conv_5x5(x)
        return self.forget_gate(x) * x + self.update_gate(x3x3, x5x5)

    def update_gate(self, x3x3: Tensor, x5x5: Tensor) -> Tensor:
        z3x3 = global_attention_pool(x3x3, self.global_context3x3)
        z5x5 = global_attention_pool(x5x5, self.global_context5x5)
        h = torch.tanh(self.bn_attention(self.fcall(torch.cat([z3x3, z5x5], dim=1))))
        u = F.softmax(torch.stack([self.fc3x3(h), self.fc5x5(h)]), dim=0)
        return u[0] * z3x3 + u[1] * z5x5

    def forget_gate(self, x: Tensor) -> Tensor:
        z = global_attention_pool(x, self.global_forget_context)
        return torch.sigmoid(self.fc2(torch.tanh(self.bn_forget(self.fc1(z)))))


class PlainHybridBlock(nn.Module):
    """X_i = X_{i-1} || SMG_i(X_{i-1})."""

    def __init__(self, c: int, num_modules: int, growth_rate: int):
        super().__init__()
        for i in range(num_modules):
            smg = PlainSMG(c + i * growth_rate, growth_rate, 4 * growth_rate, groups=4, stride=1, reduction=2)
            self.add_module(f'SMG{i + 1}', smg)
        self.out_channels = c + num_modules * growth_rate

    def forward(self, x: Tensor) -> Tensor:
        for smg in self.children():
            x = torch.cat([x, smg(x)], dim=1)
        return x


class PlainHCGNet(nn.Module):
    """The backbone: map i is the ReLU(BN(X)) that the next transition begins with, the last one the final ReLU(BN(X)).

    Args:
        blocks: Modules in each hybrid block.
        growth_rates: Channels that each of them adds.
    """

    def __init__(self, blocks: tuple[int, ...] = BLOCKS, growth_rates: tuple[int, ...] = GROWTH_RATES):
        super().__init__()
        self.num_blocks = len(blocks)
        for i, (c_in, c_out, stride) in enumerate([(3, 32, 2), (32, 32, 1), (32, 64, 1)]):
            self.add_module(f'conv{i}', nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False))
            self.add_module(f'norm{i}', nn.BatchNorm2d(c_out))
        c = 64
        for i, (num_modules, growth_rate) in enumerate(zip(blocks, growth_rates, strict=True), start=1):
            block = PlainHybridBlock(c, num_modules, growth_rate)
            self.add_module(f'hybridblock{i}', block)
            c = block.out_channels
            if i < self.num_blocks:
                half = c // 2
                squeezed = c - (c - half) // 2
                self.add_module(f'transition{i}', PlainSMG(c, half, squeezed, groups=1, stride=2, reduction=4))
                c = half
        self.norm5 = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        for i in range(3):
            x = F.relu(getattr(self, f'norm{i}')(getattr(self, f'conv{i}')(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        outs = []
        for i in range(1, self.num_blocks):
            x = getattr(self, f'hybridblock{i}')(x)
            transition = getattr(self, f'transition{i}')
            outs.append(F.relu(transition.conv1_1x1.norm(x)))
            x = transition.transform(outs[-1])
        x = getattr(self, f'hybridblock{self.num_blocks}')(x)
        outs.append(F.relu(self.norm5(x)))
        return tuple(outs)
