"""The error that commands print as one sentence instead of a traceback."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that says what is wrong, where, and what to do. Commands print it and exit with
    status 2; library callers catch it as a ``ValueError``.
    """
