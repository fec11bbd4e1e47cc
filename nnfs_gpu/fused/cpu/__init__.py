"""Fused steps on the CPU: the engine, what it binds, where everything lies."""
