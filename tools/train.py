"""Train a detector, as ``mmhybrid train`` does: ``python tools/train.py CONFIG``."""

from mmhybrid.commands.train import main

if __name__ == '__main__':
    main(prog='python tools/train.py')
