"""What the API and the operator share beyond the contract: two ports, and the S3 adapter behind one.

A worker never imports this: it has no keys for the object store, and no business with the job store.
"""
