"""From executed chapters to the HTML book: build, the Sphinx side, figures and their rows."""
