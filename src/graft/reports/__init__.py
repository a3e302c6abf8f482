"""HTML built from results alone."""
