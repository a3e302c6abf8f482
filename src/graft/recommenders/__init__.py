"""Models that score items for people: popularity, neighbours, co-occurrence, EASE, factors, a scorer on pairs; and the best k of their scores."""
