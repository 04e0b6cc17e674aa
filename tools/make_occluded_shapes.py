"""Write the occluded-shapes data set; see --help."""

from mmhybrid.datasets.cli import main

if __name__ == '__main__':
    raise SystemExit(main())
