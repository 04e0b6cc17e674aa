# What all pre-trainings have in common.
_base_ = '../runtime.py'

custom_imports = dict(imports=['mmhybrid.registry', 'mmhybrid.pretraining'], allow_failed_imports=False)
custom_hooks = [
    *_base_.custom_hooks,
    # Compares the classes, and keeps what a backbone's card tells; docs/weights.md.
    dict(type='PretrainingHook'),
    # Each process has running statistics of its own: the mean of them is what is validated and saved.
    dict(type='SyncBuffersHook'),
]
# Pictures of one size, so the quickest convolutions can be looked for once.
env_cfg = dict(cudnn_benchmark=True)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(type='TopKAccuracy', topk=(1, 5))
test_evaluator = val_evaluator
