"""What runs on a worker, and the driver that submits it."""
