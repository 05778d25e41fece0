"""The world of a behaviour in the harness: a context, refs and replies that only record."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from actors._context import Context
from actors._errors import AskError, AskFailed, NotAnAsk
from actors._incarnation import Outcome
from actors._ref import ASK_TIMEOUT_S, Ref
from actors._reply import Reply, Request, SlotState

if TYPE_CHECKING:
    from actors._behaviour import ChildSpec
    from actors._system import ActorSystem

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


class HarnessError(AssertionError):
    """The behaviour did something that needs a running system."""


@attrs.frozen
class Told:
    """A message that was sent."""

    path: str
    message: Any
    chain: int = 0
    control: bool = False


@attrs.frozen(eq=False)
class FakeTask:
    """A helper that was started; it never runs, `Harness.finish_task` ends it."""

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    then: Callable[[Outcome[Any]], Any] | None


class FakeReply(Reply[Any]):
    """Records the answer to an ask.

    Attributes:
        value: The answer, if there is one.
        error: The failure, if there is one.
    """

    def __init__(self) -> None:  # no super: there is no cell
        self.state = SlotState.OPEN
        self.deadline = float("inf")
        self.taken = False
        self.message_id = self.chain = 0
        self.value: Any = None
        self.error: BaseException | None = None

    @property
    def answered(self) -> bool:
        """Whether it has a value or an error."""
        return self.state is SlotState.SETTLED

    def send(self, value: Any) -> bool:
        """Record the answer."""
        if not self.open:
            return False
        self.state, self.value = SlotState.SETTLED, value
        return True

    def end(self, error: AskError, outcome: str) -> bool:  # noqa: ARG002  # the real one traces it
        """Record the end."""
        return self.fail(error)

    def fail(self, error: BaseException) -> bool:
        """Record the failure."""
        if not self.open:
            return False
        self.state, self.error = SlotState.SETTLED, error
        return True

    async def wait(self) -> Any:
        """Not here: the test looks at `value` and `error`."""
        raise HarnessError("nobody waits for a reply in a harness")


class FakeRef(Ref[Any]):
    """Records what it is told; accepts everything unless `accepts` is False."""

    __slots__ = ("_world", "accepts")

    def __init__(self, world: World, path: str) -> None:  # no super: there is no cell
        self.path = path
        self.accepts = True
        self._world = world

    def tell(self, message: Any, *, cause: int = 0, chain: int = 0) -> bool:  # noqa: ARG002
        """Record a message."""
        if self.accepts:
            self._world.told.append(Told(self.path, message, chain))
        return self.accepts

    def tell_control(self, message: Any, *, cause: int = 0, chain: int = 0) -> bool:  # noqa: ARG002
        """Record a message on the control lane."""
        self._world.told.append(Told(self.path, message, chain, control=True))
        return True

    async def ask(
        self,
        request: Request[R],
        *,
        timeout_s: float = ASK_TIMEOUT_S,  # noqa: ARG002  # time stands still
        cause: int = 0,  # noqa: ARG002
        chain: int = 0,  # noqa: ARG002
    ) -> R:
        """Answer with what was arranged."""
        answer = self._world.answers.get(self.path)
        if answer is None:
            raise HarnessError(f"{self.path} was asked {request!r} and has no on_ask")
        result = answer(request)
        if isinstance(result, AskError):
            raise result
        if isinstance(result, BaseException):
            raise AskFailed(self.path, result)
        return cast("R", result)

    async def offer(
        self,
        message: Any,  # noqa: ARG002  # refused whatever it is
        *,
        cause: int = 0,  # noqa: ARG002
        chain: int = 0,  # noqa: ARG002
    ) -> None:
        """Not inside of a handler, as in a real system."""
        raise HarnessError("a handler may not offer; use tell")


class World:
    """What a behaviour has done and can reach."""

    def __init__(self, path: str, now: float, rng: random.Random) -> None:
        self.path = path
        self.now = now
        self.rng = rng
        self.told: list[Told] = []
        self.timers: dict[Hashable, tuple[float, Any]] = {}
        self.tasks: list[FakeTask] = []
        self.watches: list[tuple[str, Any]] = []
        self.children: dict[str, ChildSpec] = {}
        self.notes: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.stopped = False
        self.refs: dict[str, FakeRef] = {}
        self.message_id = 0
        self.chain = 0
        self.reply: FakeReply | None = None
        self._ids = 0

    def absolute(self, path: str) -> str:
        """A path as lookup takes it."""
        return path if path.startswith("/") else f"{self.path.rpartition('/')[0]}/{path}"

    def ref(self, path: str) -> FakeRef:
        """The one reference to a path."""
        full = self.absolute(path)
        if full not in self.refs:
            self.refs[full] = FakeRef(self, full)
        return self.refs[full]

    @contextlib.contextmanager
    def handling(self, chain: int, reply: FakeReply | None) -> Iterator[None]:
        """A message is in hand."""
        self._ids += 1
        self.message_id, self.chain, self.reply = self._ids, chain, reply
        try:
            yield
        finally:
            self.message_id, self.chain, self.reply = 0, 0, None


class FakeContext(Context[M]):
    """Records; looks nothing up outside of its world."""

    __slots__ = ("_world",)

    def __init__(self, world: World) -> None:  # no super: there is no cell
        self._world = world
        self.path = world.path
        self.incarnation = 1
        self.ref = cast("Ref[M]", world.ref(world.path))

    @property
    def system(self) -> ActorSystem:
        """There is none."""
        raise HarnessError("there is no system in a harness")

    @property
    def rng(self) -> random.Random:
        """The generator of the test."""
        return self._world.rng

    @property
    def message_id(self) -> int:
        """The id of the message being handled."""
        return self._world.message_id

    @property
    def chain(self) -> int:
        """The chain of the message being handled."""
        return self._world.chain

    def now(self) -> float:
        """The time of the test."""
        return self._world.now

    def tell(self, ref: Ref[T], message: T, *, chain: int | None = None) -> bool:
        """Through the recording ref."""
        return ref.tell(message, chain=self._world.chain if chain is None else chain)

    async def ask(
        self, ref: Ref[Any], request: Request[R], *, timeout_s: float = ASK_TIMEOUT_S
    ) -> R:
        """Through the recording ref."""
        return await ref.ask(request, timeout_s=timeout_s)

    def _slot(self) -> Reply[Any]:
        slot = self._world.reply
        if slot is None or slot.taken or slot.answered:
            raise NotAnAsk(f"{self.path} handles no ask that waits for an answer")
        return slot

    def take_reply(self) -> Reply[Any]:
        """The recording reply."""
        slot = self._slot()
        slot.taken = True
        return slot

    def set_timer(self, key: Hashable, delay_s: float, message: M) -> None:
        """Set or replace; a replaced one goes to the end of its instant."""
        self._world.timers.pop(key, None)
        self._world.timers[key] = (self._world.now + max(0.0, delay_s), message)

    def cancel_timer(self, key: Hashable) -> None:
        """Drop."""
        self._world.timers.pop(key, None)

    def start_task(
        self,
        fn: Callable[..., Awaitable[T]],
        *args: object,
        then: Callable[[Outcome[T]], M] | None = None,
        name: str | None = None,
    ) -> None:
        """Record; it is not run."""
        label = name or str(getattr(fn, "__name__", "helper"))
        self._world.tasks.append(FakeTask(label, fn, args, then))

    def watch(self, ref: Ref[Any], message: M) -> None:
        """Record; deliver the message to let it fire."""
        self._world.watches.append((ref.path, message))

    def start_child(self, spec: ChildSpec) -> Ref[Any]:
        """Record; the child is a recording ref."""
        self._world.children[spec.name] = spec
        return self._world.ref(f"{self.path}/{spec.name}")

    async def stop_child(self, ref: Ref[Any]) -> None:
        """Forget the child."""
        self._world.children.pop(ref.path.rpartition("/")[2], None)

    def stop(self) -> None:
        """Record."""
        self._world.stopped = True

    def lookup(self, path: str) -> Ref[Any]:
        """A recording ref, whatever the path."""
        return self._world.ref(path)

    def note(
        self,
        type: str,  # noqa: A002  # the name of the field
        *,
        chain: int = 0,
        message_id: int = 0,
        cause: int = 0,
        outcome: str = "",
        bytes: int = 0,  # noqa: A002  # the name of the field
        took: float = 0.0,
        actor: str | None = None,
    ) -> None:
        """Record."""
        self._world.notes.append({
            "type": type, "chain": chain, "message_id": message_id, "cause": cause,
            "outcome": outcome, "bytes": bytes, "took": took, "actor": actor,
        })  # fmt: skip

    def notes(
        self,
        type: str,  # noqa: A002  # the name of the field
        chains: Iterable[int],
        *,
        message_id: int | None = 0,
        cause: int = 0,
        outcome: str = "",
        bytes: int = 0,  # noqa: A002  # the name of the field
    ) -> None:
        """Record each."""
        for chain in chains:
            self.note(
                type,
                chain=chain,
                message_id=chain if message_id is None else message_id,
                cause=cause or chain,
                outcome=outcome,
                bytes=bytes,
            )
