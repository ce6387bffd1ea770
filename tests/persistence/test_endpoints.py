"""How nodes say where they are reached (design §8, Processes)."""

from __future__ import annotations

from lightmoon_django.identity import Endpoint
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.process import this_process
from tests.persistence.world import World

THERE = Endpoint("whatever", "/run/lightmoon/1.sock", "lightmoon.node.51", "web game")


def test_a_node_says_where_it_is_reached(database: World) -> None:
    nodes = Nodes(database.alias)
    nodes.register(51, 3600.0, THERE)
    nodes.register(52, 3600.0)
    host = this_process().host
    found = nodes.survey()
    assert (found[51], found[52]) == (THERE._replace(host=host), Endpoint(host))
    nodes.announce(52, THERE)
    assert nodes.survey()[52] == THERE._replace(host=host)


def test_a_dead_node_is_not_reached(database: World) -> None:
    nodes = Nodes(database.alias)
    nodes.register(53, 3600.0, THERE)
    nodes.leave(53)
    assert 53 not in nodes.survey()
