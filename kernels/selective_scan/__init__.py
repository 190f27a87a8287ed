"""The selective state space of Mamba: a diagonal recurrence with steps that depend on the token."""
