"""The models of stage 5 are judged here as well."""

from tests.predict.conftest import every, model, number

__all__ = ["every", "model", "number"]
