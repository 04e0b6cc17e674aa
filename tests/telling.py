"""What is said of a mistake that is really made."""

import pytest

from mmhybrid import mistakes


def told(mistake, *args, **kwargs):
    """The sentence about what a call raises."""
    try:
        mistake(*args, **kwargs)
    except BaseException as error:  # not by pytest.raises, which would keep data loaders with their workers
        said = mistakes.sentence(error)
    else:
        pytest.fail('nothing was raised')
    assert said is None or ('\n' not in said and said[-1] in '.?' and len(said) < 700)
    return said
