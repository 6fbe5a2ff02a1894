"""KerasTuner around the searches."""

from keras_struct.tuners.base import NASTuner, ResumableOracle
from keras_struct.tuners.evolution import EquiEHyperModel, EquiNASETuner, EquiNASOracle, EvolutionOracle, EvolutionTuner
from keras_struct.tuners.language import DartsLanguageHyperModel
from keras_struct.tuners.launch import launch_local
from keras_struct.tuners.one_shot import (
    DartsHyperModel,
    DartsPrimeOracle,
    DartsPrimeTuner,
    EquiDHyperModel,
    EquiNASDTuner,
    OneShotHyperModel,
    SeedOracle,
)
from keras_struct.tuners.structural import StructuralHyperModel

__all__ = [
    "DartsHyperModel",
    "DartsLanguageHyperModel",
    "DartsPrimeOracle",
    "DartsPrimeTuner",
    "EquiDHyperModel",
    "EquiEHyperModel",
    "EquiNASDTuner",
    "EquiNASETuner",
    "EquiNASOracle",
    "EvolutionOracle",
    "EvolutionTuner",
    "NASTuner",
    "OneShotHyperModel",
    "ResumableOracle",
    "SeedOracle",
    "StructuralHyperModel",
    "launch_local",
]
