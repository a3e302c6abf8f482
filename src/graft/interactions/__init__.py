"""Who liked what and when: read, generated, and parted into what is known and what is to be foretold."""
