"""Where `async def` turns run: a few tasks that are used again and again, never the task that read the message.

A turn is stepped by hand. Most turns never suspend: they end within the first step, and one runner runs hundreds of
them in one pass of the loop, each in a context of its own. A turn that does suspend keeps its runner until it ends
(its `asyncio.timeout()` and its cancellation refer to that task), and another runner attends to the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.turn import Turn, TurnState, enter
from lightmoon_django.errors import Cancelled, Conflict
from lightmoon_django.runtime import overlap, recovery

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation

logger = logging.getLogger("lightmoon")

TURNS_PER_VISIT = 64  # of one actor, before others get their turn
SLICE = 0.005  # seconds that runners may hold the event loop
PARKED_LIMIT = 64  # runners that are kept for later


class Runners:
    """The runners of one node, and the queue of activations that have something to run."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self.loop = loop
        self.clock = clock
        self.ready: deque[Activation] = deque()
        self.parked: list[Runner] = []
        self.attending = 0  # runners that are awake and will look at the queue
        self.stopped = False
        self._all: set[Runner] = set()
        self._sentinel: asyncio.Task[None] | None = None

    def add(self, activation: Activation) -> None:
        """Queue an activation for a visit."""
        self.ready.append(activation)
        if not self.attending:
            self.attend()

    def attend(self) -> None:
        """Wake a runner, or make one."""
        if self.stopped:
            return
        self.attending += 1
        if self.parked:
            self.parked.pop().wake()
        else:
            if self._sentinel is None:
                self._sentinel = self.loop.create_task(self._until_the_loop_ends(), context=contextvars.Context())
            runner = Runner(self)
            self._all.add(runner)
            runner.task.add_done_callback(lambda _: self._all.discard(runner))

    def stop(self) -> None:
        """Cancel whatever still runs."""
        self.stopped = True
        for runner in list(self._all):
            runner.task.cancel()
        if self._sentinel is not None:
            self._sentinel.cancel()

    async def _until_the_loop_ends(self) -> None:
        """Runners outlive a cancellation. Only a loop that ends, as after a second Ctrl-C, cancels this task too."""
        try:
            await self.loop.create_future()
        finally:
            if not self.stopped:
                self.stop()


class Runner:
    """One task that visits activations and runs their turns."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._wake: asyncio.Future[None] | None = None
        self.task = runners.loop.create_task(self._main(), name="lightmoon-runner", context=contextvars.Context())

    def wake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _main(self) -> None:
        runners = self._runners
        while not runners.stopped:
            await self._attend()
            runners.attending -= 1
            if len(runners.parked) >= PARKED_LIMIT:
                return
            self._wake = runners.loop.create_future()
            runners.parked.append(self)
            await self._parked(self._wake)

    async def _parked(self, wake: asyncio.Future[None]) -> None:
        """Wait for work. A cancellation that a turn has left behind in this task must not end it."""
        runners = self._runners
        try:
            await wake
        except asyncio.CancelledError:
            if runners.stopped:
                raise
            if self in runners.parked:
                runners.parked.remove(self)
                runners.attending += 1
        self._forget_cancellations()

    def _forget_cancellations(self) -> None:
        while self.task.cancelling() and not self._runners.stopped:
            self.task.uncancel()

    async def _attend(self) -> None:
        """Visit activations until none is ready, yielding the loop after each slice."""
        runners = self._runners
        ready, clock = runners.ready, runners.clock
        until = clock() + SLICE
        while ready:
            activation = ready.popleft()
            activation.scheduled = False
            try:
                await self._visit(activation)
            except Exception as error:  # a defect of ours: it must not take the runner, and with it the node, along
                logger.exception("A visit failed unexpectedly.", extra={"action": "runner_defect"})
                recovery.lose(activation, f"LightMoon failed: {type(error).__name__}.", ours=True)
            if clock() >= until:
                with contextlib.suppress(*(() if runners.stopped else (asyncio.CancelledError,))):  # see _parked
                    await asyncio.sleep(0)
                until = clock() + SLICE

    async def _visit(self, activation: Activation) -> None:
        for _ in range(TURNS_PER_VISIT):
            call = activation.next_call()
            if call is None:
                return
            turn = Turn(call, activation.instance, activation)
            if activation.running is None:
                activation.running = turn
            else:
                overlap.enter(activation, turn)
            if not call.message.is_async:
                activation.node.barriers.start(activation, turn)
                return
            result, error = None, None
            try:
                coroutine = call.message.function(turn.instance, *call.take_args())
                context = contextvars.Context()
                try:
                    waiting = context.run(_first_step, turn, coroutine)
                except StopIteration as stop:
                    result = stop.value
                else:
                    result = await self._rest(turn, coroutine, context, waiting)
            except KeyboardInterrupt:
                raise
            except BaseException as found:
                if self._runners.stopped and isinstance(found, asyncio.CancelledError):
                    raise
                error = found
            if turn.state is TurnState.ABANDONED:
                return  # the activation went on without it
            if turn.cancelled:
                error = Cancelled("The caller cancelled the call; its turn was undone.")
            elif isinstance(error, asyncio.CancelledError):
                logger.warning("%s was cancelled, by nobody who may.", call.message.wire_name, exc_info=error)
                error = Conflict("The turn was cancelled, and not by its caller. Nothing of it was stored.")
            activation.conclude(turn, result, error)
        activation.schedule()

    async def _rest(
        self, turn: Turn, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context, waiting: Any
    ) -> Any:
        """Finish a turn that has suspended, while another runner attends to the queue."""
        runners = self._runners
        turn.suspended = True
        turn.runner = self.task
        runners.attending -= 1
        if turn.call.message.options.read_only:
            overlap.step_aside(turn.activation, turn)
        elif turn.activation.reentering is not None:
            turn.activation.schedule()
        if runners.ready and not runners.attending:
            runners.attend()
        try:
            return await _relay(coroutine, context, waiting)
        finally:
            runners.attending += 1
            turn.runner = None
            self._forget_cancellations()


def _first_step(turn: Turn, coroutine: Coroutine[Any, Any, Any]) -> Any:
    enter(turn)
    return coroutine.send(None)


@types.coroutine
def _relay(coroutine: Coroutine[Any, Any, Any], context: contextvars.Context, waiting: Any) -> Generator[Any, Any, Any]:
    """Carry on a coroutine that has already yielded `waiting`, each step in `context`."""
    while True:
        step: Callable[[], Any]
        try:
            yield waiting
        except BaseException as error:
            step = functools.partial(coroutine.throw, error)
        else:
            step = functools.partial(coroutine.send, None)
        try:
            waiting = context.run(step)
        except StopIteration as stop:
            return stop.value
