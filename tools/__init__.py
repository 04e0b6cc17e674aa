"""The scripts, as ``python -m mmhybrid.tools.train`` and so on; an editable install finds them by this file."""
