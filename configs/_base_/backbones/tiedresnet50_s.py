# TiedResNet-50-S, 4s x 18w: arXiv 2009.12021.
_base_ = 'tiedresnet50.py'

backbone = dict(base_width=18)
