"""What channels_redis does for one channel or group, in one round trip where it takes four.

`RedisChannelLayer.send` and `group_send` ask Redis four times per message and `receive` three times and once more
before the next; on one core that is what a packet costs. This does the same on the same keys in the same format, so
that both ends may do it either way, and `group_send` reaches who reads this way. Left out is the backup queue from
which a reader that was cancelled gets its message again, as links resend what got lost; added is that each channel has
its own Redis where there are several, as groups assume and plain sending does not do (channels_redis #221).

Connections come from the layer's own pools, and are kept. redis-py's clients are not used: what they do around each
command (a task for the write, a place in the pool, repetition) costs more than the command, and links repeat by
themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from typing import Any

from lightmoon_django.cluster.carriers.layer import channel_name
from lightmoon_django.cluster.inbox import ChannelLayer

MEMBER = channel_name(0)  # any node's channel
BLOCK = 2  # seconds that one pop waits: well below the 5 s after which redis-py 8 gives up a socket
SILENCE = 2.0  # seconds past that until the way to Redis is held for dead; before version 8, redis-py never does that
DRAIN = 32  # messages at most that one answer brings along with the first
USED = ("connection", "consistent_hash", "prefix", "expiry", "get_capacity", "serialize", "deserialize")
USED_FOR_GROUPS = ("ring_size", "group_expiry", "_group_key")

SEND = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""

# Members are channels of nodes, which all have the same capacity. What is full is skipped, as channels_redis does.
GROUP_SEND = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
for _, channel in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[2] .. channel
  redis.call('ZREMRANGEBYSCORE', key, 0, ARGV[3])
  if redis.call('ZCARD', key) < tonumber(ARGV[4]) then
    redis.call('ZADD', key, ARGV[5], ARGV[6])
    redis.call('EXPIRE', key, ARGV[7])
  end
end
"""


def quick(layer: Any, full: type[Exception]) -> ChannelLayer:
    """The layer itself, or the quick way to the same channels when it is channels_redis's.

    Not for its pub/sub layer, which has no channels that wait for their reader.
    """
    ours = type(layer).__name__ == "RedisChannelLayer" and all(hasattr(layer, name) for name in USED)
    return QuickRedis(layer, full) if ours else layer


class Line:
    """One connection to Redis, for one exchange at a time. It opens itself when it is used."""

    def __init__(self, pool: Any, connection: Any) -> None:
        self._pool = pool
        self._connection = connection
        self._timeout = connection.socket_timeout
        connection.socket_timeout = None  # who asks sets the time
        self.pack = connection.pack_commands

    @classmethod
    async def of(cls, pool: Any) -> Line:
        """Take a connection out of a pool of redis-py's."""
        try:
            return cls(pool, await pool.get_connection())
        except TypeError:  # before redis-py 5.3
            return cls(pool, await pool.get_connection("EVAL"))

    async def ask(self, packed: list[bytes], answers: int = 1) -> list[Any]:
        """Send commands, and read that many answers. Raises what redis-py does, and then hangs up."""
        connection = self._connection
        try:
            await connection.send_packed_command(packed)
            return [await connection.read_response() for _ in range(answers)]
        except BaseException:
            await self.hang_up()  # or the next one would read what is left
            raise

    async def hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def give_back(self) -> None:
        """Its pool may do with it what it likes."""
        await self.hang_up()
        self._connection.socket_timeout = self._timeout
        await self._pool.release(self._connection)


class QuickRedis:
    """Implements `inbox.ChannelLayer`. One reader; a message may get lost with its connection."""

    def __init__(self, layer: Any, full: type[Exception]) -> None:
        self._layer = layer
        self._full = full
        self._drained: deque[dict[str, Any]] = deque()
        self._reading: dict[str, tuple[Line, list[bytes]]] = {}  # by channel, with what is asked there over and over
        self._idle: defaultdict[int, list[Line]] = defaultdict(list)  # by the number of their Redis
        self.group_add = layer.group_add
        self.group_discard = layer.group_discard
        self._one_host = all(hasattr(layer, name) for name in USED_FOR_GROUPS) and layer.ring_size == 1

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        layer, now = self._layer, time.time()
        arguments = (
            int(now) - int(layer.expiry),
            layer.get_capacity(channel),
            now,
            layer.serialize(message),
            int(layer.expiry),
        )
        if not await self._eval(channel, SEND, layer.prefix + channel, *arguments):
            raise self._full(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        layer, now = self._layer, time.time()
        if not self._one_host:  # the group's members may be kept elsewhere than their channels
            await layer.group_send(group, message)
            return
        arguments = (
            int(now) - int(layer.group_expiry),
            layer.prefix,
            int(now) - int(layer.expiry),
            layer.get_capacity(MEMBER),
            now,
            layer.serialize(message),
            int(layer.expiry),
        )
        await self._eval(group, GROUP_SEND, layer._group_key(group), *arguments)

    async def receive(self, channel: str) -> dict[str, Any]:
        if not self._drained:
            self._drained.extend(map(self._layer.deserialize, await self._pop(channel)))
        message = self._drained.popleft()
        message.pop("__asgi_channel__", None)  # that of group_send
        return message

    async def give_back(self) -> None:
        """Give all connections back to their pools."""
        lines = [line for line, _ in self._reading.values()]
        lines += [line for idle in self._idle.values() for line in idle]
        self._reading.clear()
        self._idle.clear()
        for line in lines:
            await line.give_back()

    async def _pop(self, channel: str) -> list[bytes]:
        """What is in the channel, in its order; waits until there is something."""
        if channel not in self._reading:
            line, key = await self._line(self._host_of(channel)), self._layer.prefix + channel
            # In one write: Redis sees to the second command as soon as the first has ceased to block.
            self._reading[channel] = line, line.pack([("BZPOPMIN", key, BLOCK), ("ZPOPMIN", key, DRAIN)])
        line, both = self._reading[channel]
        first = None
        while first is None:
            async with asyncio.timeout(BLOCK + SILENCE):
                first, others = await line.ask(both, answers=2)
        return [first[1], *_members(others)]

    async def _eval(self, channel: str, script: str, key: str, *arguments: Any) -> Any:
        host = self._host_of(channel)
        idle = self._idle[host]
        line = idle.pop() if idle else await self._line(host)
        try:
            (answer,) = await line.ask(line.pack([("EVAL", script, 1, key, *arguments)]))
        except Exception:
            for other in tuple(idle):
                await other.hang_up()  # most likely it is broken too
            raise
        finally:
            idle.append(line)
        return answer

    def _host_of(self, channel: str) -> int:
        found: int = self._layer.consistent_hash(channel)
        return found

    async def _line(self, host: int) -> Line:
        return await Line.of(self._layer.connection(host).connection_pool)


def _members(found: list[Any]) -> list[bytes]:
    """Those of members with their scores: as pairs in RESP 3, one after another before."""
    return [one[0] for one in found] if found and isinstance(found[0], list) else found[::2]
