"""What spins do to each other: the model, its local fields, its energy."""
