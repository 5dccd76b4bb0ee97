"""Multi-view surface reconstruction: a signed-distance grid, rendered and fitted to photographs."""
