"""What a run teaches: sentences, code, arithmetic, terms and questions, made of its records."""
