"""How preference data are made: responses are sampled, judged, and put into pairs; images are corrupted."""
