"""Azure ML's ten distributions as maps from a uniform number in [0, 1) to a value.

Every sampler works on the unit interval and none needs to know a distribution.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from amlocal.reader.search import Distribution, Literal

_EDGE = 1e-12
"""Keeps a uniform number away from 0 and 1, where a normal distribution's quantiles are infinite."""


def value_at(distribution: Distribution, u: float, logbase: float | None = None) -> Literal:
    """Give the value at a quantile.

    Args:
        distribution: which.
        u: the quantile, in [0, 1).
        logbase: base of the log distributions' exponent; None for e.

    Returns:
        As Azure ML documents it: ``randint(upper)`` gives 0 … upper - 1, ``loguniform(min, max)`` gives
        exp(uniform(min, max)), ``lognormal(mu, sigma)`` gives exp(normal(mu, sigma)), and the q variants
        round(value / q) * q.
    """
    kind = distribution.type
    if kind == "choice":
        return distribution.values[_index(u, len(distribution.values))]
    if kind == "randint":
        return _index(u, distribution.upper)
    if kind.endswith("uniform"):
        exponent = distribution.minimum + u * (distribution.maximum - distribution.minimum)
    else:
        quantile = min(max(u, _EDGE), 1 - _EDGE)
        exponent = NormalDist(distribution.mu, distribution.sigma).inv_cdf(quantile)
    value = _power(logbase, exponent) if "log" in kind else exponent
    return rounded(value, distribution.q) if kind.startswith("q") else value


def rounded(value: float, q: float) -> float:
    """Round to a multiple of q, without the digits that binary fractions add (0.30000000000000004)."""
    multiple = round(value / q) * q
    digits = max(0, -math.floor(math.log10(q)) + 6)
    result = round(multiple, digits)
    return int(result) if float(q).is_integer() else result


def size(distribution: Distribution) -> int | None:
    """Count the values of a discrete distribution; None for the others."""
    if distribution.type == "choice":
        return len(distribution.values)
    return distribution.upper if distribution.type == "randint" else None


def _index(u: float, count: int) -> int:
    return min(int(u * count), count - 1)


def _power(base: float | None, exponent: float) -> float:
    return math.exp(exponent) if base is None else float(base**exponent)
