"""What the house remembers, and how it is kept safe.

    db             SQLite: one thread writes, one reads; every failure gets one of our codes
    disk           what its errors mean, whether the disk is full or read-only
    keeper         opens it when it can be opened, so that a service outlives a bad moment
    migrations     numbered steps from an empty file to today's tables
    conversations  turns and facts, in the database
    sessions       who is talking about what right now, in Redis, or in memory while Redis is away
    litestream     the configuration and the program that stream the database to its replica
    replica        brings the database back from there, and asks how far behind the replica is

Knows no service, no HTTP and nothing of how an utterance is understood.
"""
