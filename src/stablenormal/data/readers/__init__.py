"""Readers of training sets as they lie on disk, one file a set; `catalogue` opens them by name."""
