"""Backups of the database: replica, snapshots, restore points, and the restores that prove them.

litestream        the program that streams the database: configuration, lag
replica           the replica's files, listed and restored through litestream
consistent_copy   a copy of the live database at a known transaction
integrity         integrity check, content hashes, trial opening
archive           compression and encryption of a database file
keys              recovery key and machine key
snapshots         the daily archives and their retention
snapshot_job      makes, uploads and deletes snapshots
offsite           off-site store, through rclone
restore_points    copies from before a migration (`pins.json`)
restore_sources   what a restore can use
restore           a restore, step by step; test of the recovery kit
cold_start        restore at start when there is no database
drill             nightly restore drill and its log
recordings_copy   copy of the recordings to local storage
status            summary for the CLI and the dashboard
"""
