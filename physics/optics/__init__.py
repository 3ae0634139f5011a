"""What light does to excitons: absorption, photocurrent, line shapes and their limits."""
