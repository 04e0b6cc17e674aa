import pytest
import torch
from yapf.yapflib import yapf_api


def leave_configs_unformatted():
    """MMEngine has yapf format a config for each log and each checkpoint, which takes longer than a toy run trains.

    Programs that tests start still do.
    """
    yapf_api.FormatCode = lambda text, **options: (text, True)


@pytest.fixture(scope='session', autouse=True)
def unformatted_configs():
    """Also in the processes that tests fork."""
    before = yapf_api.FormatCode
    leave_configs_unformatted()
    yield
    yapf_api.FormatCode = before


@pytest.fixture(autouse=True)
def fresh_compiler_and_seed():
    """No test inherits another one's random state or compiled graphs."""
    torch.manual_seed(0)
    yield
    torch.compiler.reset()
