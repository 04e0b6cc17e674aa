"""Write the occluded-shapes data set, as ``mmhybrid data shapes`` does; see --help."""

from mmhybrid.datasets.cli import main

if __name__ == '__main__':
    raise SystemExit(main(prog='python tools/make_occluded_shapes.py'))
