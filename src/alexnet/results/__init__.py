"""Results: what runs came to, by arm, and verdicts on the paper's claims."""
