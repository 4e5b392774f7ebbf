"""A student of K units that learns from a teacher of M, online, and its error in closed form (Goldt et al. 2019).

Both are sums of v erf(w x / sqrt(2 N)) over their units; inputs x [N] are standard normal, and each is seen once.

ValueError: what is given is of another kind or not finite, or of sizes that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from ..numeric import checked

FEW = (1, 10**6)  # units, or inputs, that a net may have
CHUNK = 1_000  # inputs drawn at once; it changes no draw


@dataclass
class Net:
    """First-layer weights [units, N] and second-layer weights [units], float64.

    >>> import numpy as np
    >>> from pruning_lab.worlds import committee
    >>> net = committee.Net(w=np.ones((2, 4)), v=np.array([1.0, -1.0]))
    >>> committee.said(net, np.ones((3, 4))).tolist()  # the units cancel
    [0.0, 0.0, 0.0]
    """

    w: np.ndarray  # [units, N]
    v: np.ndarray  # [units]


@checked(units=FEW, inputs=FEW)
def drawn(units: int, inputs: int, rng: np.random.Generator, signs: bool = False) -> Net:
    """A net of standard normal first-layer weights; second-layer weights are normal with `signs`, else all 1.

    >>> import numpy as np
    >>> from pruning_lab.worlds import committee
    >>> net = committee.drawn(2, 4, np.random.default_rng(0))
    >>> net.w.shape, net.v.tolist()
    ((2, 4), [1.0, 1.0])
    """
    w = rng.standard_normal((units, inputs))
    return Net(w, rng.standard_normal(units) if signs else np.ones(units))


@checked
def said(net: Net, x: np.ndarray) -> np.ndarray:
    """Outputs for inputs [n, N], [n].

    >>> import numpy as np
    >>> from pruning_lab.worlds import committee
    >>> net = committee.drawn(2, 4, np.random.default_rng(0))
    >>> committee.said(net, np.zeros((3, 4))).tolist()
    [0.0, 0.0, 0.0]
    """
    from scipy.special import erf

    return erf(x @ net.w.T / np.sqrt(2 * net.w.shape[1])) @ net.v


@checked
def error(student: Net, teacher: Net) -> float:
    """Half the mean squared difference of the outputs over all inputs, without the teacher's noise; exact.

    >>> import numpy as np
    >>> from pruning_lab.worlds import committee
    >>> student, teacher = (committee.drawn(2, 4, np.random.default_rng(seed)) for seed in (0, 1))
    >>> committee.error(student, teacher) > 0, round(committee.error(teacher, teacher), 9)
    (True, 0.0)
    """
    w, v = np.concatenate([student.w, teacher.w]), np.concatenate([student.v, -teacher.v])
    overlaps = w @ w.T / w.shape[1]
    scale = np.sqrt(1 + np.diagonal(overlaps))
    return float(v @ np.arcsin(overlaps / scale / scale[:, None]) @ v / np.pi)


def train(
    student: Net, teacher: Net, rng: np.random.Generator, *, lr: float, noise: float, both: bool, steps: int,
    at: Collection[int], look: Callable[[int, Net], None],
) -> Net:  # fmt: skip
    """The student after so many steps of one new input each, at rate lr / sqrt(N) by w and, if `both`, lr / N by v.

    noise: deviation of what is added to the teacher's outputs. at, look: steps after which `look(step, student)` is
    called; 0: before the first.

    >>> import numpy as np
    >>> from pruning_lab.worlds import committee
    >>> rng, seen = np.random.default_rng(0), []
    >>> student, teacher = committee.drawn(3, 4, rng), committee.drawn(2, 4, rng)
    >>> look = lambda step, net: seen.append(step)
    >>> after = committee.train(student, teacher, rng, lr=0.5, noise=0.0, both=True, steps=10, at=(0, 10), look=look)
    >>> seen, committee.cosines(after, teacher).shape
    ([0, 10], (3, 2))
    """
    from scipy.special import erf

    net, size = Net(student.w.copy(), student.v.copy()), teacher.w.shape[1]
    root, slope = np.sqrt(size), np.sqrt(2 / np.pi)
    for step in range(steps + 1):
        if step in at:
            look(step, net)
        if step == steps:
            break
        if step % CHUNK == 0:
            x = rng.standard_normal((CHUNK, size))
            y = said(teacher, x) + noise * rng.standard_normal(CHUNK)
        row = x[step % CHUNK]
        fields = net.w @ row / root
        active = erf(fields / np.sqrt(2))
        off = net.v @ active - y[step % CHUNK]
        back = (lr / root * off * slope) * net.v * np.exp(-fields * fields / 2)
        if both:
            net.v -= lr / size * off * active
        net.w -= back[:, None] * row
    return net


@checked
def cosines(student: Net, teacher: Net) -> np.ndarray:
    """Between each student's and each teacher's first-layer weights, [K, M].

    >>> import numpy as np
    >>> from pruning_lab.worlds import committee
    >>> one = committee.Net(w=np.array([[1.0, 0.0], [0.0, 2.0]]), v=np.ones(2))
    >>> committee.cosines(one, committee.Net(w=np.array([[3.0, 0.0]]), v=np.ones(1))).tolist()
    [[1.0], [0.0]]
    """
    a, b = (net.w / np.linalg.norm(net.w, axis=1, keepdims=True) for net in (student, teacher))
    return a @ b.T
