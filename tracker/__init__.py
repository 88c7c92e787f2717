"""The import tracker: counts inserted observations at the Dataset API, and completes instances and jobs."""
