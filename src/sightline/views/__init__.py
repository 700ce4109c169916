"""Views of records: the terminal, a notebook, pictures. A view lays out numbers and computes none.

terminal   a run's records as they come: `terminal` (which record prints what), `tables` (results as
           tables, for commands too), `loss_chart`, and `printer` (the console) below them
notebook   `notebook` (one card for each kind of object), `fragments` (shared by cards), `markup` (HTML)
pictures   `pictures` (files), `drawings` and `results` (one function for each picture), `sheet` below
both       `format` (values as text), `explained` (sentences about one row)
"""
