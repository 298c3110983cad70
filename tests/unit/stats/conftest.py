from __future__ import annotations

from hypothesis import settings

# Other programs share the machine: examples are the same in each run and no example is failed for its time.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
