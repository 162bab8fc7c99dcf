"""How each vendor of the false Internet answers, one module per vendor with its object `vendor`."""
