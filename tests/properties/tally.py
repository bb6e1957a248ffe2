"""How often each property held, and how often a problem was refused in words."""

import os
from collections import Counter, defaultdict

OUTCOMES: dict[str, Counter] = defaultdict(Counter)
HELD = "held"


class Refused(Exception):
    """The library refused a problem, or warned that its fit has not converged."""


def note(outcome):
    """Count an example of the running test."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].split(" ")[0]
    OUTCOMES[test.removeprefix("test_")][outcome] += 1


def check(compare, *args):
    """Compare, and count; a refusal in words is an outcome, not a fault."""
    try:
        compare(*args)
    except Refused as error:
        note(str(error))
    else:
        note(HELD)


def table():
    """One line per property: examples that held, and reasons of refusals."""
    lines = [f"{'property':<58}{'held':>7}{'refused':>9}"]
    reasons = Counter()
    for name, counts in sorted(OUTCOMES.items()):
        refused = counts.total() - counts[HELD]
        lines.append(f"{name.replace('_', ' '):<58}{counts[HELD]:>7}{refused:>9}")
        reasons += counts
    lines.append("")
    lines += [f"{count:>7}  {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)
