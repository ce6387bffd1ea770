"""How the world comes in: sessions, JSON-RPC, WebSocket, HTTP, subscriptions, permissions.

General layout, from the ground up (imports fall downward only):

- `switchboard`: what the gateway asks of the node. `frames`, `limits`, `threads`, `expiry`: small tools.
- `outbox`, `transport`: what waits for one client that reads slowly. `backlog`: for one that isn't connected.
- `rates`: how much may come from one user or address.
- `policy`, `users`, `origin`, `tokens`: who may do what, and who is asking.
- `hub`: what all clients of a node share. `client`, `calls`, `answers`: one client and its calls in flight.
- `session`: a client that stays. `carrier`: the connection that it has at the moment.
- `guards`, `subscriptions`: joining streams, and who sees what of them.
- `credentials`, `sweep`, `changes`: being judged again, and put out.
- `routes`, `methods`, `batch`, `rpc`: what a frame can ask for, and the way from a frame to a call and back.
- `admission`: who comes in over HTTP. `downstream`: what `sse` and `poll` have in common.
- `websocket`, `http`, `sse`, `poll`, `views`: the doors. `registry`: all live sessions of this process.
- `farewell`: clients are told before a server stops.
"""
