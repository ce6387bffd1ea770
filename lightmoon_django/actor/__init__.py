"""What a developer writes: actors, their messages and events, addresses, and the current turn."""
