"""Tests of `export/calibration/`."""
