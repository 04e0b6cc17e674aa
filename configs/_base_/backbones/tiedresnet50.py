# TiedResNet-50, 4s x 32w: arXiv 2009.12021.
backbone = dict(
    type='TiedResNet',
    depth=50,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    norm_cfg=dict(type='BN', requires_grad=True),
    style='pytorch',
)
