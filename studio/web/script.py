"""What is run for every page that is drawn."""

from studio.app import run

run()
