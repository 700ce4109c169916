"""Stage 3, build: networks from a spec, `forward(numeric, categorical) -> logits`."""
