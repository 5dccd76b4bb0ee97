"""One file a part: its own settings, how the model is made ready for it, its loss and its validation."""
