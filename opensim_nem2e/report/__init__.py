"""Figures and pages: of studies, estimates, and checks of data."""
