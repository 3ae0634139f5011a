"""Speech recognition: from telephone recordings to words with an LSTM transducer."""
