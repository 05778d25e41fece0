"""A small, complete actor runtime on trio. It knows nothing of clusters.

An actor is a **cell** (name, mailbox, counters; survives crashes) and a **behaviour** (your code
and its state; built anew by a factory for every incarnation). Actors are reached through a `Ref`:
`tell` never waits, `ask` ends in exactly one of five ways, `offer` waits for room at the edges.
They live in a tree of supervisors (`SupervisorSpec`, `ChildSpec`) that starts them in order,
restarts them within limits, and stops them in reverse order under one deadline. An `ActorSystem`
runs such a tree. Every message leaves trace records (`actors.tracing`); `python -m actors FILE`
prints them. `actors.introspection` shows what a system does now; `actors.testing` has probes, a
harness without trio and virtual time from a seed.
"""

from actors._behaviour import Behaviour, ChildSpec, RestartLimits, Spec, SupervisorSpec
from actors._context import Context
from actors._dead_letters import DeadLetter, DeadLetters, DeadReason
from actors._errors import (
    ActorError,
    ActorStopped,
    AskCycle,
    AskError,
    AskFailed,
    AskRefused,
    AskTimeout,
    InvalidTransition,
    MailboxFull,
    NameTaken,
    NoReply,
    NoSuchActor,
    NotAnAsk,
    OfferInHandler,
    RestartLimit,
    StartFailed,
    TraceFormatError,
    single,
)
from actors._hooks import CrashReport, SlowHandler
from actors._incarnation import BATCH, Outcome
from actors._mailbox import MailboxSpec, Overflow
from actors._ref import ASK_TIMEOUT_S, Ref
from actors._reply import Reply, Request
from actors._restart import Backoff, Restart, Strategy
from actors._system import ActorSystem
from actors._trace import TraceLog

__all__ = [
    "ASK_TIMEOUT_S",
    "BATCH",
    "ActorError",
    "ActorStopped",
    "ActorSystem",
    "AskCycle",
    "AskError",
    "AskFailed",
    "AskRefused",
    "AskTimeout",
    "Backoff",
    "Behaviour",
    "ChildSpec",
    "Context",
    "CrashReport",
    "DeadLetter",
    "DeadLetters",
    "DeadReason",
    "InvalidTransition",
    "MailboxFull",
    "MailboxSpec",
    "NameTaken",
    "NoReply",
    "NoSuchActor",
    "NotAnAsk",
    "OfferInHandler",
    "Outcome",
    "Overflow",
    "Ref",
    "Reply",
    "Request",
    "Restart",
    "RestartLimit",
    "RestartLimits",
    "SlowHandler",
    "Spec",
    "StartFailed",
    "Strategy",
    "SupervisorSpec",
    "TraceFormatError",
    "TraceLog",
    "single",
]
