"""Screens: the dashboard, and the modals that ask before anything is spent."""
