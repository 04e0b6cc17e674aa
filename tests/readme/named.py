"""Look whether what a line ``pip install ...`` names of this project is there: constraints, extras, build requirements.

``python -m tests.readme.named pip install -e '.[onedl]'``; the status is 1 after a sentence if not.
"""

import re
import sys
from importlib.metadata import metadata
from pathlib import Path


def missing(words: list[str]) -> list[str]:
    """What a line names that is not there."""
    extras = set(metadata('mmhybrid').get_all('Provides-Extra'))
    found = []
    for before, word in zip(['', *words], words, strict=False):
        if before == '-c' and not Path(word).is_file():
            found.append(f'the file {word}')
        own = re.fullmatch(r'(\.|mmhybrid)(?:\[([\w,]+)\])?', word)
        if own and own[1] == 'mmhybrid':
            found.append('mmhybrid on a package index')
        if own and own[1] == '.' and not Path('pyproject.toml').is_file():
            found.append('pyproject.toml')
        asked = own[2].split(',') if own and own[2] else []
        found += [f'the extra {extra}' for extra in asked if extra not in extras]
    return found


if __name__ == '__main__':
    gone = missing(sys.argv[1:])
    if gone:
        sys.exit(f'There is no {", nor ".join(gone)}.')
