"""Multi-view surface reconstruction: a signed-distance grid, rendered as a volume and fitted to photographs."""
