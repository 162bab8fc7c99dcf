"""How each vendor of the false Internet answers: one module per vendor, each with an object `vendor`."""
