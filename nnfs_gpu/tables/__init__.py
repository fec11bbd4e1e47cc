"""Tables of people's own: reading them, and turning rows into what a network takes and answers."""
