"""The loop of a study and what it needs: limits, budget, stages, help for a stuck sampler."""

from nas.driver.loop import Driver, OnEvent

__all__ = ["Driver", "OnEvent"]
