"""Files as other programs and people write them, at the door of the commands."""
