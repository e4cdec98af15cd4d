"""SQLite database and Redis sessions of one installation.

    db              opens and migrates the database; one thread writes, one reads
    connection      one SQLite connection on a thread of its own
    provider        reopens the database after a disk fault, so that the service stays up
    sqlite_errors   SQLite's errors as our error classes; free space and write access
    wal_checkpoint  who may checkpoint the write-ahead log
    database_files  replacing the database file and what belongs to it
    fence           the permit that a writer needs where there are two machines
    migrations      numbered steps from an empty file to the current schema
    conversations   turns and facts
    turn_timings    what the voice service measured of each turn
    waterfall       one turn's stages on a common time axis
    recordings      names and expiry of recorded audio
    sessions        recent exchanges of each conversation, in Redis or memory

Imports no service and no backup code: hooks are passed in.
"""
