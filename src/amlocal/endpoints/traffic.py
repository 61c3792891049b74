"""Traffic rules: what a split may look like, and which deployment a request goes to."""

from collections.abc import Collection, Mapping

MIRROR_LIMIT = 50


def find_fault(traffic: Mapping[str, int], mirror_traffic: Mapping[str, int], ready: Collection[str]) -> str | None:
    """Check a split of traffic.

    Args:
        traffic: Percentage of live requests per deployment.
        mirror_traffic: Percentage of requests copied, per deployment.
        ready: Deployments that can answer.

    Returns:
        What is wrong with it, or ``None``. Source of the rules: "Safe rollout for online endpoints" in
        Azure's documentation.
    """
    shares = {**traffic, **{f"{name} (mirror)": share for name, share in mirror_traffic.items()}}
    for name, share in shares.items():
        if not 0 <= share <= 100:
            return f"the share of {name} is {share}; expected 0 to 100"
    total = sum(traffic.values())
    if total not in (0, 100):
        return f"traffic sums to {total} ({_spell(traffic)}); expected 0 or 100"
    mirrors = {name: share for name, share in mirror_traffic.items() if share}
    if len(mirrors) > 1:
        return f"traffic is mirrored to {len(mirrors)} deployments ({_spell(mirrors)}); expected one at most"
    for name, share in mirrors.items():
        if share > MIRROR_LIMIT:
            return f"{share} % of traffic is mirrored to {name}; expected {MIRROR_LIMIT} % at most"
        if traffic.get(name):
            return f"{name} gets live and mirrored traffic; expected one of them"
    for name in [*(name for name, share in traffic.items() if share), *mirrors]:
        if name not in ready:
            return f"deployment {name} gets traffic and is not there or not provisioned"
    return None


def pick(shares: Mapping[str, int], point: float) -> str | None:
    """Choose by weight.

    Args:
        shares: Percentage per name; the rest up to 100 belongs to nobody.
        point: Where the die fell, from 0 up to but not including 100.

    Returns:
        The name whose share the point lies in, or ``None``.
    """
    for name, share in shares.items():
        if point < share:
            return name
        point -= share
    return None


def _spell(shares: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {share}" for name, share in shares.items()) or "none"
