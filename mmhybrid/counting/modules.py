"""Parameters and multiply-adds of any module, counted by MMEngine's analysis.

PyTorch's own ``FlopCounterMode`` counts the same (a test compares them), but PyTorch 2.0 has none, and it tells
nothing of compiled operators that it cannot see into.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

OPERATORS = ('conv', 'linear', 'addmm', 'mm', 'matmul', 'bmm', 'einsum')
COUNTED = (
    'Multiply-adds of one image: convolutions, linear layers and matrix products; not counted are biases, norms, '
    'activations, pooling and other element-wise operations.'
)


@dataclass(frozen=True)
class Counts:
    """What was counted.

    Attributes:
        parameters: All parameters, shared ones once.
        operators: Multiply-adds of the whole module by operator, e.g. ``{'conv': 4388995072}``.
        modules: Multiply-adds by name of submodule; '' is the whole.
        uncounted: Compiled operators that the analysis cannot see into, and how often each was met.
    """

    parameters: int
    operators: Mapping[str, int]
    modules: Mapping[str, int]
    uncounted: Mapping[str, int]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the whole module."""
        return sum(self.operators.values())


def count(module: nn.Module, *inputs: Any) -> Counts:
    """Count a module in its present mode on inputs."""
    import torch
    from mmengine.analysis import FlopAnalyzer

    analyzer = FlopAnalyzer(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        by_module = analyzer.by_module_and_operator()
    matrices = {name: {op: int(n) for op, n in c.items() if op in OPERATORS} for name, c in by_module.items()}
    return Counts(
        parameters=sum(p.numel() for p in module.parameters()),
        operators=matrices[''],
        modules=Counter({name: sum(c.values()) for name, c in matrices.items()}),
        uncounted={op: n for op, n in analyzer.unsupported_ops().items() if _may_multiply(op)},
    )


def _may_multiply(op: str) -> bool:
    return op.startswith('prim::PythonOp') or any(s in op for s in ('attention', 'baddbmm', 'conv', 'lstm', 'gru'))
