"""Readers of training sets in their original layout, one file a set; `catalogue` opens them by name."""
