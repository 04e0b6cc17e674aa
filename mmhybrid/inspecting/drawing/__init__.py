"""Figures of what was found, by matplotlib, in the style of the occlusion figures."""
