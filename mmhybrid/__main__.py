"""``python -m mmhybrid``: the command ``mmhybrid``."""

import sys

from mmhybrid.cli import main

if __name__ == '__main__':
    sys.exit(main())
