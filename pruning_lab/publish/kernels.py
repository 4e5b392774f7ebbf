"""Notebooks executed by papermill, several at a time, in kernels that end with this process or when told."""

import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop

from . import tied

STARTS = 3  # of a kernel: its ports are chosen before it takes them, and another program may be quicker
DIED = "Kernel died before replying to kernel_info"  # what jupyter_client says then

# the build says what failed, and nothing of kernels that it stopped
logging.getLogger("papermill").setLevel(logging.CRITICAL)


class Stopped(Exception):
    """No kernel begins any more."""


class Kernels:
    """The kernels of one build. `surroundings` are environment variables beside this process's."""

    def __init__(self, surroundings: Mapping[str, str] | None = None) -> None:
        self.surroundings, self.stopped = dict(surroundings or {}), False
        self.running: set[AsyncKernelManager] = set()

    def execute(
        self, path: Path, part: Path, parameters: dict[str, Any], cwd: Path, cell_seconds: int | None
    ) -> nbformat.NotebookNode:
        """Run a notebook in `cwd` and write it to `part` cell by cell. Raises what papermill raises, and Stopped."""
        for start in range(1, STARTS + 1):
            try:
                return papermill.execute_notebook(
                    path,
                    part,
                    parameters=parameters,
                    kernel_name="python3",
                    progress_bar=False,
                    log_output=False,
                    execution_timeout=cell_seconds,
                    start_timeout=600,
                    extra_arguments=["--log-level=50"],  # the kernel's own
                    resources={"metadata": {"path": str(cwd)}},  # papermill's own `cwd` would be that of all threads
                    kernel_manager_class=self._manager(),
                )
            except RuntimeError as error:
                if str(error) != DIED or start == STARTS or self.stopped:
                    raise
        raise AssertionError("unreachable")

    def execute_in_thread(self, call: Callable, *args: Any, **options: Any) -> Any:
        """Call what executes notebooks, in a thread that may end afterwards."""
        try:
            return call(*args, **options)
        finally:
            ensure_event_loop().close()  # jupyter_client made it for this thread

    def stop(self) -> None:
        """Kill every kernel and what it started; none begins from now on."""
        self.stopped = True
        for kernel in list(self.running):
            _kill(kernel)

    def _manager(self) -> type[AsyncKernelManager]:
        kernels = self

        class Kernel(AsyncKernelManager):
            """A kernel that ends with this process."""

            def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
                return tied.command(super().format_kernel_cmd(extra_arguments))

            async def start_kernel(self, **options: Any) -> None:
                if kernels.stopped:
                    raise Stopped
                kernels.running.add(self)
                await super().start_kernel(**options | {"env": {**os.environ, **kernels.surroundings}})
                if kernels.stopped:  # while it began
                    _kill(self)

            async def cleanup_resources(self, restart: bool = False) -> None:
                await super().cleanup_resources(restart)
                kernels.running.discard(self)

        return Kernel


def _kill(kernel: AsyncKernelManager) -> None:
    process = getattr(kernel.provisioner, "process", None)
    if process is not None and process.poll() is None:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL)  # a kernel leads a group of its own, with its workers in it
