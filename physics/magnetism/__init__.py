"""What spins show: averages with errors, Curie temperatures, hysteresis, estimates."""
