"""Stand-ins for the neighbours, and the whole system on one machine: for the demo and the tests, never for production."""
