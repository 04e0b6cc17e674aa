"""docs/configs.md, read back."""

import re
from pathlib import Path

from mmhybrid.tools.make_docs import Trained

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / 'docs' / 'configs.md'
SECTION = re.compile(r'^\d+ configs; (\d+) images a step, learning rate ([\d.]+)\.$')
ROW = re.compile(r'^\| [^|]+ \| [^|]+ \| ([\d,]+) \| ([\d,]+) \| [^|]+ \| \[`(\w+)`\]')
OTHER = re.compile(r'^\| \[`(\w+)`\].* of ([\d,]+) parameters')


def told() -> dict[str, Trained]:
    """What the page says of each config, by its name; of the demo only how many parameters its detector has."""
    found, how = {}, (0, 0.0)
    for line in PAGE.read_text(encoding='utf-8').splitlines():
        if section := SECTION.match(line):
            how = (int(section[1]), float(section[2]))
        elif row := ROW.match(line):
            found[row[3]] = Trained(integer(row[1]), integer(row[2]), *how)
        elif other := OTHER.match(line):
            found[other[1]] = Trained(0, integer(other[2]), 0, 0.0)
    return found


def integer(text: str) -> int:
    """A number written with commas."""
    return int(text.replace(',', ''))
