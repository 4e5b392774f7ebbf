"""From a net and images to a trained net: the recipe, the loop, and what it goes on from after a stop."""
