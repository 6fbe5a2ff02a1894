"""KerasTuner around the searches."""

from keras_struct.nas.language_tuners import DartsLanguageHyperModel
from keras_struct.nas.tuners import DartsHyperModel, DartsPrimeOracle, DartsPrimeTuner
from keras_struct.search.evolution import EvolutionOracle, EvolutionTuner
from keras_struct.search.launch import launch_local
from keras_struct.search.one_shot import OneShotHyperModel, SeedOracle
from keras_struct.search.structural import StructuralHyperModel
from keras_struct.search.tuning import NASTuner, ResumableOracle
from keras_struct.symmetry.equinas_d_tuner import EquiDHyperModel, EquiNASDTuner
from keras_struct.symmetry.equinas_e_tuner import EquiEHyperModel, EquiNASETuner, EquiNASOracle

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
