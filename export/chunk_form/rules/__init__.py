"""What each operator does to time, and how it is written for one chunk."""
