"""What each kind measures: functions of modules and tensors, and ``run``, which gives findings."""
