"""How the world comes in: sessions, JSON-RPC, WebSocket, HTTP, subscriptions, permissions.

General layout, from the ground up (imports fall downward only):

- `switchboard`: what the gateway asks of the node. `frames`, `limits`, `threads`: small tools.
- `outbox`, `transport`: what waits for one client that reads slowly.
- `policy`, `users`, `origin`: who may do what, and who is asking.
- `hub`: what all clients of a node share. `client`, `calls`, `answers`: one client and its calls in flight.
- `session`: a client that stays, with its subscriptions. `subscriptions`, `sweep`: joining streams, and being put out.
- `methods`, `rpc`: what a frame can ask for, and the way from a frame to a call.
- `websocket`, `http`: the two doors. `registry`: all live sessions of this process.
"""
