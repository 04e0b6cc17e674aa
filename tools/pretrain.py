"""Pre-train a backbone, as ``mmhybrid pretrain`` does: ``python tools/pretrain.py CONFIG --backbone NAME``."""

from mmhybrid.commands.pretrain import main

if __name__ == '__main__':
    main(prog='python tools/pretrain.py')
