"""The flow of a fit whose labels are no single class: numbers, counts, ordered levels, several labels an item."""
