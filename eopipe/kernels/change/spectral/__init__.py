"""The kernel that compares pixels' colours."""
