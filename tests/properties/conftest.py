"""Two profiles: a short one, the same on every machine, and that of ``make campaign``.

``PROPERTIES=1000`` in the environment chooses the long one, with so many examples of each
property, new ones in each run. ``--hypothesis-seed`` repeats a run.
"""

import os
from importlib.util import find_spec

N_EXAMPLES = int(os.environ.get("PROPERTIES", 0))

if find_spec("hypothesis"):
    from hypothesis import HealthCheck, Phase, settings

    SHARED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
    settings.register_profile(
        "short",
        max_examples=15,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # to shrink a failure takes minutes
        **SHARED,
    )
    settings.register_profile(
        "campaign",
        max_examples=N_EXAMPLES or 1000,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        **SHARED,
    )
    settings.load_profile("campaign" if N_EXAMPLES else "short")


def pytest_terminal_summary(terminalreporter):
    if N_EXAMPLES:
        from tally import table

        terminalreporter.section("properties")
        terminalreporter.write_line(table())
