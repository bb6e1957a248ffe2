"""Two profiles: a short one, the same on every machine, and that of ``make campaign``.

``PROPERTIES=1000`` in the environment chooses the long one, with so many examples of each
property, new ones in each run, and writes the table of the documentation.
``--hypothesis-seed`` repeats a run.
"""

import os
import time
from importlib.util import find_spec
from pathlib import Path

TABLE = Path(__file__).parents[2] / "docs" / "tables" / "properties.rst"
START = time.perf_counter()
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

        text = table(N_EXAMPLES, time.perf_counter() - START)
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(text, encoding="utf-8")
        terminalreporter.section("properties")
        terminalreporter.write(text)
