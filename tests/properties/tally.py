"""How often each property held, and how often a problem was refused in words."""

import os
from collections import Counter, defaultdict
from datetime import date
from importlib.metadata import version

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


def table(n_examples, seconds):
    """What the page on testing shows: one line for each property."""
    versions = [f"{name} {version(name)}" for name in ("hypothesis", "scikit-learn")]
    lines = [
        f"On {date.today()}: {n_examples} examples of each property at most, in "
        f"{seconds / 60:.0f} minutes, with {' and '.join(versions)}. ::",
        "",
        f"    {'property':<58}{'held':>7}{'refused':>9}",
    ]
    reasons = Counter()
    for name, counts in sorted(OUTCOMES.items()):
        refused = counts.total() - counts[HELD]
        name = name.replace("_", " ")
        lines.append(f"    {name:<58}{counts[HELD]:>7}{refused:>9}")
        reasons += counts
    del reasons[HELD]
    lines += ["", "Refused in words: "]
    lines.append(", ".join(f"{n} {reason}" for reason, n in reasons.most_common()))
    return "\n".join(lines) + ".\n"
