"""Pure measures."""
