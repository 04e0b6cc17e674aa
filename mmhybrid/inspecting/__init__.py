"""Look inside of trained networks, as the articles do to explain theirs: the command ``mmhybrid inspect``.

``kinds.py`` lists the kinds of analyses, ``options`` what each is told, ``cli.py`` is the command. ``subjects.py``
loads what is looked at, a detector, a classifier or a backbone, ``samples.py`` the images it is shown. What each kind
computes, on tensors and modules, is in ``analyses``, what it draws in ``drawing``. ``findings.py`` writes what any of
them found, ``gallery.py`` puts several on one page.
"""
