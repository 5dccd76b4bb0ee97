"""Training samples: their layout, their shards, their augmentation, and scenes rendered for training."""
