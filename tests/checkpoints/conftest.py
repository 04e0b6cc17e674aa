"""What the tests of checkpoints share."""

import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def told():
    """What is told, while a test runs."""
    messages = []

    class Keep(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger, handler = MMLogger.get_current_instance(), Keep()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
