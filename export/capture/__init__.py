"""What forward calls while it runs, and what torch's exporter needs help with."""
