"""Backups of the database: replica, snapshots, restore points, and the restores that prove them.

litestream        the program that streams the database: configuration, lag
replica           the replica's files, listed and restored through litestream
consistent_copy   a copy of the live database at a known transaction
integrity         integrity check, content hashes, trial opening
restic            repositories of snapshots, here and off-site, and their password
snapshots         content of a snapshot: SQL text; the state that the services read
snapshot_job      makes, copies and deletes snapshots; the printed page that restores one
restore_points    copies from before a migration (`pins.json`)
restore_sources   what a restore can use, also archives from before restic
restore           a restore, step by step
cold_start        restore at start when there is no database
drill             nightly restore drill and its log
recordings_copy   copy of the recordings to local storage
status            summary for the CLI and the dashboard
"""
