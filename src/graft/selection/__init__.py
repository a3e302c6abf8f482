"""The ladder and its evidence: trials of strategies on paired folds, and the choice among them."""
