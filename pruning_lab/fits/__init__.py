"""Models that are small enough to be fitted at every size: random features, forests, nets of one hidden layer."""
