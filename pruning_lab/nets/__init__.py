"""Nets by name at a width, what belongs to a unit of theirs, and nets without some units."""
