"""Scores of normal maps against measured ones, and their spread over seeds."""
