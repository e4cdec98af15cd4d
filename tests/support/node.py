"""Node.js for tests with programs of their own: whatever is on PATH, nothing installed."""

from __future__ import annotations

import shutil

from barnabee.up.dashboard import NodeProvider, NodeRuntime


class NodeOnPath(NodeProvider):
    async def get_runtime(self) -> NodeRuntime:
        return NodeRuntime(shutil.which("node") or "node", (shutil.which("npm") or "npm",))
