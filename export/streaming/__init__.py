"""Memory that no recurrent layer holds."""
