"""Copies of the database that were restored and compared, and the way back from them.

content     what a database holds, as counts and hashes that can be compared
moment      the living database at one known transaction
pace        how much of a core this may take
sound       whether a database file is sound, and opens
remote      the replica, asked through litestream
keys        who can open a snapshot
snapshots   the daily copy: made, listed, opened, pruned
offsite     the second place for snapshots, through rclone
restoring   a restore, step by step
drill       the nightly proof
drills      what the drills found, in the database
calls       what all this asks of the object store
audio       recordings, copied to the house's own storage
status      all of it in one answer
"""
