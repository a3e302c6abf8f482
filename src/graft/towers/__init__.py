"""Two towers: a network for people and one for items, into one space; and maps that bring new items into the space of any model."""
