"""A gateway that behaves like M-PESA's, keeps honest books, and misbehaves when told to."""

from ops.simulator.app import Simulator, run, running_simulator
from ops.simulator.settings import SettingsError, SimulatorSettings, from_environment

__all__ = [
    "SettingsError",
    "Simulator",
    "SimulatorSettings",
    "from_environment",
    "run",
    "running_simulator",
]
