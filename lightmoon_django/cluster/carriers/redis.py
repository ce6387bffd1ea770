"""What channels_redis does for one channel or group, in one round trip where it takes four.

`RedisChannelLayer.send` and `group_send` ask Redis four times per message and `receive` three times and once more
before the next; on one core that is what a packet costs. This does the same on the same keys in the same format, so
that both ends may do it either way, and `group_send` reaches who reads this way. Left out is the backup queue from
which a reader that was cancelled gets its message again, as links resend what got lost; added is that each channel has
its own Redis where there are several, as groups assume and plain sending does not do (channels_redis #221).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
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


class QuickRedis:
    """Implements `inbox.ChannelLayer`. One reader; a message may get lost with its connection."""

    def __init__(self, layer: Any, full: type[Exception]) -> None:
        self._layer = layer
        self._full = full
        self._drained: deque[dict[str, Any]] = deque()
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
        if not await self._connection(channel).eval(SEND, 1, layer.prefix + channel, *arguments):
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
        await self._connection(group).eval(GROUP_SEND, 1, layer._group_key(group), *arguments)

    async def receive(self, channel: str) -> dict[str, Any]:
        key = self._layer.prefix + channel
        while not self._drained:
            # In one write: Redis sees to the second command as soon as the first has ceased to block.
            both = self._connection(channel).pipeline(transaction=False)
            async with asyncio.timeout(BLOCK + SILENCE):
                first, others = await both.bzpopmin(key, timeout=BLOCK).zpopmin(key, DRAIN).execute()
            members = [first[1]] if first else []
            members += [member for member, _ in others]
            self._drained.extend(map(self._layer.deserialize, members))
        message = self._drained.popleft()
        message.pop("__asgi_channel__", None)  # that of group_send
        return message

    def _connection(self, channel: str) -> Any:
        return self._layer.connection(self._layer.consistent_hash(channel))
