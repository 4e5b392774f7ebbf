"""Random forests as a model with two sizes: the leaves of a tree, and the number of trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

Size = tuple[int | None, int]  # the most leaves of a tree (None: as many as it takes), and the number of trees


def sizes(leaves: Iterable[int], trees: Iterable[int]) -> list[tuple[str, int | None, int]]:
    """The axis, leaves and trees of each forest: one tree of so many leaves, then so many full-grown trees; beside
    them the leaves again, with the most trees.
    """
    leaves, trees = list(leaves), list(trees)
    found: list[tuple[str, int | None, int]] = [("leaves", leaf, 1) for leaf in leaves]
    found += [("trees", None, count) for count in trees]
    return found + [("leaves of many trees", leaf, max(trees)) for leaf in (*leaves, None)]


def grown(
    images: np.ndarray, labels: np.ndarray, wanted: Iterable[Size], classes: int, seed: int
) -> Iterator[tuple[Size, int, Answer]]:
    """Each forest once: its size, its leaves in all, and a function from images [n, inputs] to outputs [n, classes].

    No bootstrap, each tree sees all images; at each split it chooses among sqrt(inputs) features; a forest's output is
    the mean over its trees of the shares of classes in the leaf (scikit-learn).
    """
    from sklearn.ensemble import RandomForestClassifier

    for leaves, trees in wanted:
        forest = RandomForestClassifier(trees, max_leaf_nodes=leaves, bootstrap=False, random_state=seed, n_jobs=1)
        forest.fit(images, labels)
        count = sum(tree.get_n_leaves() for tree in forest.estimators_)
        yield (leaves, trees), count, Answer(forest, classes)


class Answer:
    """A forest as a function from images to outputs."""

    def __init__(self, forest: object, classes: int) -> None:
        self.forest, self.classes = forest, classes

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Shares of classes [n, classes]; zero for a class that no image of the training had."""
        out = np.zeros((len(images), self.classes))
        out[:, self.forest.classes_] = self.forest.predict_proba(images)
        return out
