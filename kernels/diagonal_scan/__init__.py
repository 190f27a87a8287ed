"""A linear recurrence on each channel by itself, as in HGRN and diagonal state spaces."""
