"""Training: the dataset, a learner for each stage, and `fit`."""
