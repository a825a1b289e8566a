"""Teaching notebooks: percent scripts, what they share, and how they become notebooks."""
