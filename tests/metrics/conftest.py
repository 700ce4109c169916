"""The models of stage 5 are measured here as well."""

from tests.predict.conftest import every, model, number

__all__ = ["every", "model", "number"]
