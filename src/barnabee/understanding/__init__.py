"""What is said and what is to be answered: pure decisions, with every side effect behind a seam."""
