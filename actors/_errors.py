"""Every error of the runtime, under one root.

Refusals that a sender must expect (a full mailbox, an ended actor) are return values of `tell`,
not errors; an ask turns them into one of its ends. Mistakes in a program (a name used twice, an
`offer` from inside a handler) are errors of their own.
"""

from __future__ import annotations


class ActorError(Exception):
    """The root of all errors raised by `actors`."""


class AskError(ActorError):
    """An ask ended without a value; `path` names the actor that was asked."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class AskFailed(AskError):
    """The asked actor failed the request: by `fail`, or by crashing while it held it.

    `error` is the reason, also set as the cause.
    """

    def __init__(self, path: str, error: BaseException) -> None:
        super().__init__(path, f"{path} failed the request: {type(error).__name__}: {error}")
        self.error = error
        self.__cause__ = error


class AskRefused(AskFailed):
    """The mailbox of the asked actor refused the request, or dropped it to make room."""


class ActorStopped(AskError):
    """The asked actor has ended, or ended before it answered. Also raised by `offer`."""

    def __init__(self, path: str) -> None:
        super().__init__(path, f"{path} has stopped")


class AskTimeout(AskError):
    """No answer before the deadline. The request may still be executed."""

    def __init__(self, path: str, waited_s: float) -> None:
        super().__init__(path, f"no answer from {path} within {waited_s:.3f} s")
        self.waited_s = waited_s


class AskCycle(AskError):
    """The asked actor waits, directly or through others, for the asking one.

    Raised at once: without it both would wait until the deadline. Only waits of handlers count;
    a helper task that asks blocks nobody.
    """

    def __init__(self, asker: str, path: str) -> None:
        super().__init__(path, f"{asker} asks {path}, which is waiting for {asker}")
        self.asker = asker


class MailboxFull(ActorError):
    """The reason inside `AskRefused`: which lane was full, and its capacity."""


class NoReply(ActorError):
    """A handler returned without answering, failing or taking the reply of an ask: a bug."""


class NotAnAsk(ActorError):
    """`reply`, `fail` or `take_reply` was called while no unanswered ask is being handled."""


class OfferInHandler(ActorError):
    """`offer` was called inside a handler. Waiting for room there deadlocks two full actors."""


class NoSuchActor(ActorError):
    """No actor has this path."""


class NameTaken(ActorError):
    """The path belongs to an actor that has not ended yet."""


class StartFailed(ActorError):
    """`started` raised, or took longer than its limit. The cause is the reason."""


class RestartLimit(ActorError):
    """Children of a group crashed more often than its intensity allows. The cause is the last."""


class InvalidTransition(ActorError):
    """An actor was taken through a life-cycle step that its state does not allow: a bug here."""


class TraceFormatError(ActorError):
    """A trace file is not one, is of another version, or is cut off in the middle of a record."""


def single(error: BaseException) -> BaseException:
    """Unwrap exception groups that hold exactly one error; leave all others as they are.

    One failing leaf is wrapped once per nursery it crosses, which hides it from `except`.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
