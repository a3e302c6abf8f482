"""What people want to search, and what they have judged: items with columns, pairs, judgements."""
