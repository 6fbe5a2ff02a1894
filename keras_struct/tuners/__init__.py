"""KerasTuner around the searches."""

from keras_struct.tuners.base import NASTuner, ResumableOracle
from keras_struct.tuners.darts import DartsHyperModel, DartsPrimeOracle, DartsPrimeTuner
from keras_struct.tuners.equinas_d import EquiDHyperModel, EquiNASDTuner
from keras_struct.tuners.equinas_e import EquiEHyperModel, EquiNASETuner, EquiNASOracle
from keras_struct.tuners.evolution import EvolutionOracle, EvolutionTuner
from keras_struct.tuners.language import DartsLanguageHyperModel
from keras_struct.tuners.launch import launch_local
from keras_struct.tuners.one_shot import OneShotHyperModel, SeedOracle
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
