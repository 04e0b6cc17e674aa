"""The commands ``mmhybrid {train,test,predict,pretrain}``, which ``tools/*.py`` of the same names are, too.

Each module looks for MMDetection before it imports anything that needs it, so a missing one is one sentence.
"""
