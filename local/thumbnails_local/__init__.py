"""The whole service on one machine without Kubernetes: SQLite, child processes, a local S3 server."""
