# Pictures in folders: data_root/train/CLASS/*.jpg and data_root/val/CLASS/*.jpg, or test/ instead of val/.
data_root = 'data/pictures/'

train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    # The few pictures of a last batch would be the last that the batch norms' statistics know before each validation;
    # of one picture alone, which has no deviation, a batch norm makes nothing.
    drop_last=True,
    dataset=dict(type='ImageFolder', data_root=data_root, folder='train'),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageFolder', data_root=data_root, folder=['val', 'test']),
)
test_dataloader = val_dataloader
