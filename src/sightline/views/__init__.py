"""What shows records: the terminal, a notebook, pictures. Views compute nothing."""
