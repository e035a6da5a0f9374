"""What is trained on: the plan and the packed tokens."""
