"""What a run teaches: sentences, quiz, code, equations, terms and facts, made from its records."""
