"""The REST API: Falcon resources over two ports, the job store and the object store."""
