"""SQLite database and Redis sessions of one installation.

    db              opens and migrates the database; one thread writes, one reads
    connection      one SQLite connection on a thread of its own
    provider        reopens the database after a disk fault, so that the service stays up
    sqlite          SQLite's errors as our error classes; who may checkpoint its log
    database_files  replacing the database file and what belongs to it
    fence           permit and epoch of the writer where there are two machines
    migrations      numbered steps from an empty file to the current schema
    conversations   turns and facts
    turn_timings    what the voice service measured of each turn
    waterfall       one turn's stages on a common time axis, and why it was slow
    recordings      names and expiry of recorded audio
    sessions        recent exchanges of each conversation, in Redis or memory

Imports no service and no backup code: hooks are passed in.
"""
