"""Hypothesis: the same few examples in every run.

    ERUV_EXAMPLES=2000 python -m pytest tests/properties        other ones, thousands of them
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("ERUV_EXAMPLES", 25))
settings.register_profile("few", max_examples=EXAMPLES, derandomize=EXAMPLES <= 25, deadline=None, database=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("few")
