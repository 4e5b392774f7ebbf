"""Who runs a list of experiments, where, how long, in which order, and what a change of code does to what was run."""
