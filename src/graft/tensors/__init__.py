"""Pure functions on torch tensors that trainings use: augmentation, losses, penalties, averages of weights, orders. Imported only where training runs."""
