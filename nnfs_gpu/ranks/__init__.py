"""Programs of several ranks: what they tell each other, and how they end."""
