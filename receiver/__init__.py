"""Alertmanager webhook receiver and notification router for VM migrations."""
