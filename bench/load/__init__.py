"""The load generator: one process, one epoll loop, no WebSocket library.

It must not be what limits a measurement, so frames are built beforehand and answers are looked at no further than
needed to count them. Its own CPU share is part of every result.
"""
