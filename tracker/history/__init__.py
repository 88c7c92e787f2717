"""
What has happened, entry by entry: written by the scripts into a Redis stream, drained from there into a database where there is one.

entries    one entry, and the sentence that tells it     stream    the Redis room      database    the PostgreSQL room
draining   from the one into the other                   reading   both, for people
"""
