"""Answers that are computed once: what an experiment is, its record on a shelf, and the code and data that it rests
on.
"""
