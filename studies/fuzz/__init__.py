"""Damaged files against every reader: no crash, no hang, no flood of memory, and no error but our own.

`python -m studies.fuzz` mutates files blindly; `python -m studies.fuzz.guided` looks for new paths through a
reader with atheris, which needs the extra `fuzz`.
"""
