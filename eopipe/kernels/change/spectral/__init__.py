"""The kernel that compares pixels' colours, weighed by how likely they are what the prompts name."""
