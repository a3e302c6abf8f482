"""Items ranked for labelling, rules put to use, and the page on which people label."""
