"""Named ways to transfer; each rebuilds itself from its state."""
