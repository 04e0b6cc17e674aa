"""Test a trained detector, as ``mmhybrid test`` does: ``python tools/test.py CONFIG CHECKPOINT``."""

from mmhybrid.commands.test import main

if __name__ == '__main__':
    main(prog='python tools/test.py')
