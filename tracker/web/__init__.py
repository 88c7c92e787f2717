"""What browsers and other machines see: the health of the system, instances and jobs, at `BIND_ADDR`."""
