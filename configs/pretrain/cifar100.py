# CIFAR-100 as pictures, the recipe of HCGNet's authors: CIFAR-10's, with the data set's own mean and deviation.
_base_ = 'cifar10.py'

data_root = 'data/cifar100/'
num_classes = 100
model = dict(
    data_preprocessor=dict(mean=[129.31, 124.11, 112.40], std=[68.21, 65.41, 70.41]),
    head=dict(num_classes=num_classes),
)
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
