"""Backbones, each registered in MMDetection's ``MODELS`` under its class name.

Importing this has MMEngine read checkpoints as data only, see ``mmhybrid.checkpoints.roads``.
"""

from mmhybrid import _stack

_stack.require()

from mmhybrid.checkpoints import roads  # noqa: E402

from .ds2_res2net import DS2Res2Net  # noqa: E402
from .dsnet import DSNet  # noqa: E402
from .hcgnet import HCGNet  # noqa: E402
from .hs_resnet import HSResNet  # noqa: E402
from .se_resnet import SEResNet  # noqa: E402
from .senetv2 import SaEResNet  # noqa: E402
from .tied_resnest import TiedResNeSt  # noqa: E402
from .tied_resnet import TiedResNet  # noqa: E402
from .tied_resnext import TiedResNeXt  # noqa: E402

roads.install()

__all__ = [
    'DS2Res2Net',
    'DSNet',
    'HCGNet',
    'HSResNet',
    'SEResNet',
    'SaEResNet',
    'TiedResNeSt',
    'TiedResNeXt',
    'TiedResNet',
]
