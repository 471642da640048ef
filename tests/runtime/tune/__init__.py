"""The choice of forms by measuring them."""
