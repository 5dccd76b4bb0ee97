"""The jobs behind the commands, and the pages that show their results."""
