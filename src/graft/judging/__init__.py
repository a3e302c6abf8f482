"""How good a search is, and what makes it better: judged queries, ways to ask, queries learned from examples."""
