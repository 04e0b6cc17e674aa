"""Detect on pictures, as ``mmhybrid predict`` does: ``python tools/predict.py IMAGES... CONFIG CHECKPOINT``."""

from mmhybrid.commands.predict import main

if __name__ == '__main__':
    main(prog='python tools/predict.py')
