"""The one gradient loop and what it is fed: bodies, batches, rates, penalties, augmentation. Imported only where training runs."""
