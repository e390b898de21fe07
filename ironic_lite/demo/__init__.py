"""The demo: the service and a simulated fleet on one machine, for a look."""
