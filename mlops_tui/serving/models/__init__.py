"""What answers: models loaded here or in processes of their own, where they come from, and the threads they get."""
