"""What can go wrong with the demo home, as one error. This module knows nothing else of it."""

from __future__ import annotations

from barnabee.core.errors import BarnabeeError


class DemoHomeFailed(BarnabeeError):
    """The demo home {problem}: {remedy}."""

    code = "demo_home_failed"
