"""Answers that are computed once: what an experiment is, its record on a shelf, and what code and data it rests on."""
