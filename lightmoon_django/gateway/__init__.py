"""How the world comes in: sessions, JSON-RPC, WebSocket, HTTP, subscriptions, permissions.

General layout, from the ground up (imports fall downward only):

- `switchboard`: what the gateway asks of the node. `frames`, `limits`, `threads`: small tools.
- `outbox`, `transport`: what waits for one client that reads slowly.
- `policy`, `users`, `origin`: who may do what, and who is asking.
- `hub`: what all clients of a node share. `client`, `calls`, `answers`: one client and its calls in flight.
- `session`: a client that stays. `subscriptions`, `sweep`, `signals`: joining streams, and being put out.
- `routes`, `methods`, `batch`, `rpc`: what a frame can ask for, and the way from a frame to a call and back.
- `websocket`, `http`, `views`: the doors. `registry`: all live sessions of this process.
"""
