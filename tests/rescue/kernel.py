"""One real kernel, started as a Jupyter server starts it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from uuid import uuid4

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager


@contextmanager
def running_kernel(*arguments: str) -> Generator[BlockingKernelClient]:
    """A client of a kernel that runs until the end; its connection file lies in the runtime folder."""
    runtime = os.environ["JUPYTER_RUNTIME_DIR"]
    os.makedirs(runtime, mode=0o700, exist_ok=True)
    manager = KernelManager(connection_file=os.path.join(runtime, f"kernel-{uuid4()}.json"))
    manager.start_kernel(extra_arguments=list(arguments), stderr=-3)
    client = manager.client()
    assert isinstance(client, BlockingKernelClient)
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        client.context.destroy(linger=0)


def run(client: BlockingKernelClient, code: str) -> None:
    """Run a cell, and wait until it is done."""
    assert client.execute(code, reply=True, timeout=60)["content"]["status"] == "ok"
