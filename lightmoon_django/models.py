"""The tables that LightMoon keeps for itself."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from lightmoon_django import codec
from lightmoon_django.fields import OwnerField


class Node(models.Model):
    """One start of one process that hosts actors. Its id, the incarnation, is what rows name as their owner.

    Times are microseconds since 1970 on the database's clock, so that every engine compares them alike. A row is
    deleted only after its tombstone, so that an id which a fresh statement doesn't find is dead.
    """

    id: models.BigIntegerField[Any, int] = models.BigIntegerField(primary_key=True)
    host: models.CharField[Any, str] = models.CharField(
        max_length=200
    )  # boot id and pid namespace; empty when the system tells neither
    pid: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField()
    process_started: models.CharField[Any, str] = models.CharField(
        max_length=40
    )  # as the kernel counts it; empty when unknown
    started_at: models.BigIntegerField[Any, int] = models.BigIntegerField()
    expires_at: models.BigIntegerField[Any, int] = models.BigIntegerField()
    dead: models.BooleanField[Any, bool] = models.BooleanField(default=False)
    socket: models.CharField[Any, str] = models.CharField(
        max_length=100, default="", db_default=""
    )  # the path of its Unix socket; empty when it has none
    channel: models.CharField[Any, str] = models.CharField(
        max_length=100, default="", db_default=""
    )  # of the channel layer; empty when it has none
    roles: models.TextField[Any, str] = models.TextField(default="", db_default="")  # separated by spaces
    network: models.BigIntegerField[Any, int] = models.BigIntegerField(
        default=0, db_default=0
    )  # what its process is called on links; 0 when it has none
    load: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField(
        default=0, db_default=0
    )  # actors in its process's memory, as of the last heartbeat
    alone: models.BooleanField[Any, bool] = models.BooleanField(
        default=False, db_default=False
    )  # it has all actors that live in memory only, without a `Place` for each

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_node"

    def __str__(self) -> str:
        return f"incarnation {self.pk} (process {self.pid})"


class Place(models.Model):
    """Which incarnation has an actor that lives in memory only, while it does. Its id is a digest of its address."""

    id: models.UUIDField[Any, uuid.UUID] = models.UUIDField(primary_key=True)
    lightmoon_owner = OwnerField()

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_place"

    def __str__(self) -> str:
        return f"place {self.pk}"


class Reminder(models.Model):
    """A reminder that an actor has set, in the same commit as the turn that set it."""

    actor: models.CharField[Any, str] = models.CharField(max_length=200)  # wire name of its class
    key: models.CharField[Any, str] = models.CharField(max_length=255)
    name: models.CharField[Any, str] = models.CharField(max_length=200)
    generation: models.BigIntegerField[Any, int] = models.BigIntegerField()  # new with every setting
    message: models.CharField[Any, str] = models.CharField(max_length=200)
    payload: models.BinaryField[Any, bytes] = models.BinaryField()
    due_at: models.BigIntegerField[Any, int] = models.BigIntegerField()
    period: models.BigIntegerField[Any, int] = models.BigIntegerField(default=0)  # microseconds
    cron: models.CharField[Any, str] = models.CharField(max_length=255, default="")
    catch_up: models.CharField[Any, str] = models.CharField(max_length=20, default="once")
    user: models.CharField[Any, str] = models.CharField(max_length=255, default="")
    wake_at: models.BigIntegerField[Any, int] = models.BigIntegerField(
        db_index=True
    )  # `due_at` at first; moved by claims and postponements
    attempts: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField(default=0)
    last_error: models.TextField[Any, str] = models.TextField(default="")

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_reminder"
        constraints = (models.UniqueConstraint(fields=("actor", "key", "name"), name="lightmoon_reminder_unique"),)

    def __str__(self) -> str:
        return f"{self.name} of {self.actor}:{self.key}"


class Answer(models.Model):
    """What a `once` call was answered, for whoever repeats the call."""

    id: models.UUIDField[Any, uuid.UUID] = models.UUIDField(primary_key=True)
    fingerprint: models.BinaryField[Any, bytes] = models.BinaryField()
    payload: models.BinaryField[Any, bytes] = models.BinaryField()
    expires_at: models.BigIntegerField[Any, int] = models.BigIntegerField(db_index=True)

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_answer"

    def __str__(self) -> str:
        return f"answer {self.pk}"


class Outgoing(models.Model):
    """A tell that is sent again until it is delivered."""

    id: models.UUIDField[Any, uuid.UUID] = models.UUIDField(primary_key=True)
    actor: models.CharField[Any, str] = models.CharField(max_length=200)  # the receiver's
    key: models.CharField[Any, str] = models.CharField(max_length=255)
    message: models.CharField[Any, str] = models.CharField(max_length=200)
    payload: models.BinaryField[Any, bytes] = models.BinaryField()
    caller: models.CharField[Any, str] = models.CharField(max_length=500)  # address of the sending actor
    user: models.CharField[Any, str] = models.CharField(max_length=255, default="")
    wake_at: models.BigIntegerField[Any, int] = models.BigIntegerField(db_index=True)
    attempts: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField(default=0)
    last_error: models.TextField[Any, str] = models.TextField(default="")

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_outgoing"

    def __str__(self) -> str:
        return f"{self.message} to {self.actor}:{self.key}"


class DeadLetter(models.Model):
    """A reminder or tell that failed too often, kept for an operator to replay or skip."""

    what: models.CharField[Any, str] = models.CharField(max_length=10)  # "reminder" or "tell"
    actor: models.CharField[Any, str] = models.CharField(max_length=200)
    key: models.CharField[Any, str] = models.CharField(max_length=255)
    message: models.CharField[Any, str] = models.CharField(max_length=200)
    name: models.CharField[Any, str] = models.CharField(max_length=200, default="")  # a reminder's
    payload: models.BinaryField[Any, bytes] = models.BinaryField()
    error: models.TextField[Any, str] = models.TextField()
    attempts: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField()
    caller: models.CharField[Any, str] = models.CharField(max_length=500, default="")  # a tell's
    user: models.CharField[Any, str] = models.CharField(max_length=255, default="")
    buried_at: models.BigIntegerField[Any, int] = models.BigIntegerField()

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_dead_letter"
        indexes = (models.Index(fields=("actor", "key"), name="lightmoon_dead_letter_address"),)

    def __str__(self) -> str:
        return f"{self.what} {self.message} to {self.actor}:{self.key}"

    @property
    def arguments(self) -> list[Any]:
        """What it was sent with, in the order of the message's parameters, as plain values."""
        found: list[Any] = codec.plain_local(bytes(self.payload))
        return found


class Pause(models.Model):
    """An actor that an operator has paused: it gets no reminders and no durable tells."""

    actor: models.CharField[Any, str] = models.CharField(max_length=200)
    key: models.CharField[Any, str] = models.CharField(max_length=255)
    reason: models.TextField[Any, str] = models.TextField(default="")
    since: models.BigIntegerField[Any, int] = models.BigIntegerField()

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_pause"
        constraints = (models.UniqueConstraint(fields=("actor", "key"), name="lightmoon_pause_unique"),)

    def __str__(self) -> str:
        return f"{self.actor}:{self.key} is paused"
