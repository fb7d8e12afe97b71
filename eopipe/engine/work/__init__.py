"""What runs on a worker, and the driver that asks for it."""
