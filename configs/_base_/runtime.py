_base_ = 'mmdet::_base_/default_runtime.py'

default_scope = 'mmdet'
custom_imports = dict(imports=['mmhybrid.registry'], allow_failed_imports=False)
# A crash loses no checkpoint, and a resumed run goes on exactly.
default_hooks = dict(checkpoint=dict(type='ResumableCheckpointHook'))
custom_hooks = [
    # Stops a run whose weights were not all where they were expected; docs/training.md.
    dict(type='LoadedWeightsHook'),
    # Stops a run whose frozen layers were never loaded.
    dict(type='FrozenStagesHook'),
    # Stops a run whose annotation files, classes and heads contradict each other; docs/data.md.
    dict(type='DataCheckHook'),
    # MMDetection's own, behind it: what is built counts the same classes.
    dict(type='NumClassCheckHook'),
    # Stops a run at a loss that is infinite or NaN, before it changes a weight; docs/training.md.
    dict(type='NonFiniteLossHook'),
    # Tells after one iteration that the run has begun.
    dict(type='FirstIterationHook'),
]
