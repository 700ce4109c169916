"""A whole run: the five stages in a row, and what watches, records and reopens them."""
