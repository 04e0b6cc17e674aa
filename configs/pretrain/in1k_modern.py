# ImageNet-1k, a modern recipe, all of it our choice: cosine after a warm-up, label smoothing, mixup, averaged weights.
_base_ = 'in1k.py'

max_epochs = 100
model = dict(head=dict(label_smoothing=0.1), mixing=dict(mixup=0.2))
optim_wrapper = dict(
    optimizer=dict(nesterov=True, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=5, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=5, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [
    *_base_.custom_hooks,
    # The average is what is validated and published.
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True),
]
