"""Files: photographs in, normal maps out, models from a folder or the hub."""
