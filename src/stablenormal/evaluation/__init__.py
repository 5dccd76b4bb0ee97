"""Scores of normal maps against measured ones."""
