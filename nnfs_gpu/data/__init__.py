"""Where samples come from, and what a step takes its rows from."""
