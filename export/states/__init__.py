"""Where each recurrent state comes from, its name and its pair of ports."""
