"""The audit of taylor.md, section 5.4, with sums over subsets written out: slow, in float64, for a handful of players."""

from itertools import chain, combinations


def subsets(members):
    return list(chain.from_iterable(combinations(members, size) for size in range(len(members) + 1)))


def dividend(value, coalition):
    """Sum over T within S of (-1)^(|S| - |T|) value(T)."""
    return sum((-1) ** (len(coalition) - len(part)) * value(part) for part in subsets(coalition))


def audited(players, value, share):
    """The numbers of an audit, from v(T) and a(T)[i] for tuples T."""
    coalitions = subsets(range(players))
    effect = {S: dividend(value, S) for S in coalitions if S}
    part = {(S, i): dividend(lambda T, i=i: share(T)[i], S) for S in coalitions for i in range(players)}
    whole = sum(abs(J) for J in effect.values())
    given = sum(abs(M) for M in part.values())
    miss = over = reverse = 0.0
    for S, J in effect.items():
        u = sum(part[S, i] for i in range(players)) / J
        miss += abs(J) * min(max(1 - u, 0), 1)
        over += abs(J) * max(u - 1, 0)
        reverse += abs(J) * max(-u, 0)
    leak = sum(abs(M) for (S, i), M in part.items() if i not in S)
    off = sum(abs(J - sum(part[S, i] for i in range(players))) for S, J in effect.items())
    return {
        "miss": miss / whole,
        "over": over / whole,
        "reverse": reverse / whole,
        "leak": leak / given,
        "completeness_error": off / whole,
    }


def selectope_shortfall(players, value, map_):
    """max over T of (low(T) - a(T))^+ / ||J||, with low(T) from the dividends one by one."""
    effect = {S: dividend(value, S) for S in subsets(range(players)) if S}
    whole = sum(abs(J) for J in effect.values())
    worst = 0.0
    for T in subsets(range(players)):
        low = sum(J for S, J in effect.items() if J > 0 and set(S) <= set(T))
        low += sum(J for S, J in effect.items() if J < 0 and set(S) & set(T))
        worst = max(worst, low - sum(map_[i] for i in T))
    return worst / whole
