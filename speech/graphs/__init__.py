"""N-grams and weighted automata, and the search for the likeliest words in them."""
