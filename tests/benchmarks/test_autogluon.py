"""What counts as a whole AutoGluon, without installing it."""

import pytest

from benchmarks import autogluon_peer

BOARD = ["WeightedEnsemble_L2", "LightGBMXT_BAG_L1", "CatBoost_r1", "XGBoost", "NeuralNetFastAI", "ExtraTreesGini"]  # fmt: skip


def test_a_family_without_time_is_recorded():
    assert autogluon_peer.skipped(BOARD, {"NeuralNetTorch": ("ImportError", "no torch")}) == {}
    few = BOARD[:2] + BOARD[4:]
    reasons = autogluon_peer.skipped(few, {"XGBoost": ("TimeLimitExceeded", "")})
    assert reasons == {"CatBoost": "no time was left to start it", "XGBoost": "XGBoost: over the time limit"}  # fmt: skip


def test_a_family_that_broke_fails_the_fit():
    with pytest.raises(RuntimeError, match="no XGBoost model: XGBoost ended with ImportError: no xgboost"):  # fmt: skip
        autogluon_peer.skipped(BOARD[:3] + BOARD[4:], {"XGBoost": ("ImportError", "no xgboost")})


def test_an_environment_without_a_family_fails_the_fit(monkeypatch):
    monkeypatch.setattr(autogluon_peer.importlib.util, "find_spec", lambda name: name not in ("xgboost", "fastai"))  # fmt: skip
    with pytest.raises(ModuleNotFoundError, match="has no XGBoost: install"):
        autogluon_peer.installed()
