import pytest
import torch


@pytest.fixture(autouse=True)
def fresh_compiler_and_seed():
    """No test inherits another one's random state or compiled graphs."""
    torch.manual_seed(0)
    yield
    torch.compiler.reset()
